"""What ``cluster/`` publishes agrees with the project: configs, images, pins, jobs, and the README's commands."""

import json
import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray.autoscaler
import yaml

from serve.settings import ServiceSettings
from tests.cluster.rendering import CLUSTER, OVERLAYS, object_of, rendered
from tests.conftest import ROOT
from vapray.cli import STAGES_OF_A_NAME
from vapray.config.file import load
from vapray.doctor.offers import offered
from vapray.placement import demands_of, places
from vapray.serve_file import parse_serve_config, read_serve_file
from vapray.stages import itinerary


def test_the_service_is_the_one_of_the_projects_serve_config():
    service = yaml.safe_load((CLUSTER / "base/ray-service.yaml").read_text())
    assert yaml.safe_load(service["spec"]["serveConfigV2"]) == yaml.safe_load((ROOT / "serve/config.yaml").read_text())


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_service_fits_its_pods(overlay):
    spec = object_of(rendered(overlay), "RayService")["spec"]
    service = ServiceSettings.model_validate(parse_serve_config(spec["serveConfigV2"], where=overlay).args)
    groups = spec["rayClusterConfig"].get("workerGroupSpecs", ())
    gpus = sum(group["maxReplicas"] * gpus_of(group["template"]) for group in groups)
    assert sum(model.replicas.max * model.replicas.num_gpus for model in service.models) <= gpus


def gpus_of(template: dict[str, Any]) -> int:
    return int(template["spec"]["containers"][0]["resources"]["limits"].get("nvidia.com/gpu", 0))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_pipeline_finds_places_in_pods_that_may_come(overlay):
    """Also where none is up: a stage waits for what the autoscaler can add."""
    spec = object_of(rendered(overlay), "RayJob")["spec"]
    groups = spec["rayClusterSpec"].get("workerGroupSpecs") or [spec["rayClusterSpec"]["headGroupSpec"]]
    config = config_of(spec["entrypoint"])
    for demand in demands_of(config):
        held = [group.get("maxReplicas", 1) * places(offered(group), demand.bundle) for group in groups]
        assert sum(held) >= demand.count, demand
    assert config.run.root.startswith("s3://") == ("workerGroupSpecs" in spec["rayClusterSpec"])


def jobs_and_their_groups(overlay: str) -> list[tuple[set[str], Any, list[dict[str, Any]]]]:
    """The pipeline on its own cluster, and each stage on the standing one: stages, config, groups."""
    pipeline = object_of(rendered(overlay), "RayJob")["spec"]
    standing = object_of(rendered(overlay), "RayCluster")["spec"]["workerGroupSpecs"]
    jobs = {path.name.split(".")[1]: yaml.safe_load(path.read_text())["spec"] for path in (CLUSTER / "jobs").iterdir()}
    return [
        (
            {stage.name for stage in itinerary(None)},
            config_of(pipeline["entrypoint"]),
            pipeline["rayClusterSpec"]["workerGroupSpecs"],
        ),
        *(
            ({name, *STAGES_OF_A_NAME.get(name, ())}, config_of(job["entrypoint"]), standing)
            for name, job in jobs.items()
        ),
    ]


def test_several_gpu_groups_take_each_its_own_work():
    """So that captions do not start on the pods of 8 GPUs that are for training."""
    for stages, config, groups in jobs_and_their_groups("multi-gpu"):
        for demand in demands_of(config):
            if stages.intersection(demand.stages):
                fits = {group["groupName"] for group in groups if places(offered(group), demand.bundle)}
                assert len(fits) == 1 or "GPU" not in demand.bundle, (stages, demand, fits)


def test_the_one_gpu_takes_every_role():
    for stages, config, groups in jobs_and_their_groups("single-gpu"):
        for demand in demands_of(config):
            if stages.intersection(demand.stages):
                assert any(places(offered(group), demand.bundle) for group in groups), (stages, demand)


def config_of(entrypoint: str) -> Any:
    python, dash_m, module, option, file, *overrides = shlex.split(entrypoint)
    assert (python, dash_m, option) == ("python", "-m", "--config") and find_spec(module)
    return load(str(ROOT / file.removeprefix("/app/")), overrides)


def test_there_is_a_job_for_every_stage_and_it_can_be_run():
    jobs = {path.name.split(".")[1]: yaml.safe_load(path.read_text()) for path in (CLUSTER / "jobs").iterdir()}
    assert {f"{name}.py" for name in jobs} == {path.name for path in (ROOT / "jobs").glob("[a-z]*.py")} - {
        "pipeline.py"
    }
    standing = yaml.safe_load((CLUSTER / "base/ray-cluster.yaml").read_text())["metadata"]["name"]
    for name, job in jobs.items():
        assert config_of(job["spec"]["entrypoint"]) and f"python -m jobs.{name} " in job["spec"]["entrypoint"]
        assert job["spec"]["clusterSelector"] == {"ray.io/cluster": standing}


def test_ray_clusters_that_run_side_by_side_have_names_of_their_own():
    """KubeRay names services and secrets by them."""
    names = [tree["metadata"]["name"] for tree in rendered("multi-gpu") if tree["apiVersion"].startswith("ray.io/")]
    assert len(set(names)) == 3


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_pods_refer_to_is_there_or_made_by_the_readmes_commands(overlay):
    objects = rendered(overlay)
    text = yaml.safe_dump_all(
        [tree for tree in objects if tree["kind"].startswith("Ray") or tree["kind"] == "StatefulSet"]
    )
    claims = set(re.findall(r"claimName: (\S+)", text))
    secrets = set(re.findall(r"secretName: (\S+)|(?:secretKeyRef|secretRef):\n(?:\s+key: .*\n)?\s+name: (\S+)", text))
    maps = set(re.findall(r"configMapRef:\n\s+name: (\S+)", text))
    names = {kind: {tree["metadata"]["name"] for tree in objects if tree["kind"] == kind} for kind in ("ConfigMap",)}
    assert claims == {"vapray-data"} and maps <= names["ConfigMap"]
    made = set(re.findall(r"create secret generic (\S+)", (CLUSTER / "README.md").read_text()))
    assert {name for pair in secrets for name in pair if name} == made == {"vapray-s3", "vapray-keys", "vapray-redis"}


def test_the_launcher_file_is_one_that_ray_takes():
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(yaml.safe_load((CLUSTER / "ray-up.on-prem.yaml").read_text()), schema)


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_an_image_is_pinned_and_not_root_and_called_as_manifests_call_it(name):
    text = (CLUSTER / f"Dockerfile.{name}").read_text()
    assert all(
        re.fullmatch(r"\S+:\d+\.\d+\.\d+\S*( AS build)?", base) for base in re.findall(r"^FROM (.*)", text, re.M)
    )
    assert text.rstrip().endswith("USER 1000:1000") and "--constraint constraints.txt" in text
    (tag,) = re.findall(r"--tag vapray:(\S+)", text)
    assert tag.endswith(f"-ray{pins()['ray']}-{name}")
    overlays = {"cpu": ["laptop-kind"], "cuda": ["single-gpu", "multi-gpu"]}[name]
    for overlay in overlays:
        assert f"vapray:{tag}" in yaml.safe_dump_all(rendered(overlay))


def test_an_image_is_built_from_nothing_but_what_it_copies():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for path in CLUSTER.glob("Dockerfile.*"):
        copies = re.findall(r"^COPY (?!--from)(.*) \S+$", path.read_text(), re.M)
        assert {name for line in copies for name in line.split()} == kept
    assert all((ROOT / name).exists() for name in kept)


def test_the_readmes_commands_name_what_is_there():
    text = (CLUSTER / "README.md").read_text()
    paths = set(
        re.findall(r"(?<![\w/.])((?:cluster|serve|jobs)/[\w./-]+\.(?:yaml|cpu|cuda)|cluster/overlays/[\w-]+)", text)
    )
    paths |= {f"cluster/{path}" for path in re.findall(r"`((?:base|overlays|monitoring|tls|jobs)/[\w./-]*)`", text)}
    missing = {path for path in paths if not ((ROOT / path).exists() or (CLUSTER / path).exists())}
    assert len(paths) > 12 and missing == set()
    assert "has been applied to a Kubernetes" in " ".join(text.split())


def test_single_gpu_serving_asks_for_no_more_than_the_projects_own_config():
    """Both name the same model, so that one sed command puts the checkpoint's folder into each."""
    own = read_serve_file(str(ROOT / "serve/config.yaml")).args["models"][0]
    spec = object_of(rendered("single-gpu"), "RayService")["spec"]
    model = parse_serve_config(spec["serveConfigV2"], where="single-gpu").args["models"][0]
    assert {key: model[key] for key in ("name", "checkpoint", "run")} == {
        key: own[key] for key in ("name", "checkpoint", "run")
    }
