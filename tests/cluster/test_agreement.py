"""Agreement of ``cluster/`` with the project: Serve configs, images, pins, names and the README's commands."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray.autoscaler
import yaml

from serve.settings import ServiceSettings
from tests.cluster.manifest_checks import RAY_VERSION
from tests.cluster.rendering import CLUSTER, OVERLAYS, object_of, rendered
from tests.conftest import ROOT
from vapray import __version__
from vapray.service.serve_config import parse_serve_config, read_serve_config


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


def test_every_object_has_the_label_that_selects_its_part():
    parts = {tree["metadata"]["labels"]["app.kubernetes.io/component"] for tree in rendered("multi-gpu")}
    assert parts == {"shared", "cluster", "pipeline", "service"}


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


@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_an_image_is_pinned_and_not_root_and_called_as_manifests_call_it(name):
    text = (CLUSTER / f"Dockerfile.{name}").read_text()
    assert re.search(r"^ARG BASE=\S+:\d+\.\d+\.\d+\S*$", text, re.M)
    assert re.findall(r"^FROM (.*)", text, re.M) == ["${BASE} AS build", "${BASE}"]
    assert text.rstrip().endswith("USER 1000:1000") and "--constraint constraints.txt" in text
    (tag,) = re.findall(r"--tag vapray:(\S+)", text)
    assert tag == f"{__version__}-ray{RAY_VERSION}-{name}"
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
    own = read_serve_config(str(ROOT / "serve/config.yaml")).args["models"][0]
    spec = object_of(rendered("single-gpu"), "RayService")["spec"]
    model = parse_serve_config(spec["serveConfigV2"], where="single-gpu").args["models"][0]
    assert {key: model[key] for key in ("name", "checkpoint", "run")} == {
        key: own[key] for key in ("name", "checkpoint", "run")
    }
