"""Manifests of ``cluster/``: strict KubeRay schemas, the project's own rules, and jobs that fit their clusters."""

import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from copy import deepcopy
from importlib.util import find_spec
from typing import Any

import pytest
import yaml

from tests.cluster.manifest_checks import RAY_SPECS, Tree, groups_of, pods_of, problems, ray_spec
from tests.cluster.rendering import CLUSTER, OVERLAYS, STAGES, object_of, render, rendered, stage_job
from tests.cluster.schemas import DEFINITIONS, violations
from tests.conftest import ROOT
from vapray.config.loader import load_config
from vapray.errors import ConfigError
from vapray.pipeline.stage_names import STAGES_OF_JOB
from vapray.pipeline.stages import select_stages
from vapray.runtime.placement import ResourceDemand, bundles_per_node, resource_demands

needs_definitions = pytest.mark.skipif(not DEFINITIONS.is_dir(), reason=f"no KubeRay CRDs in {DEFINITIONS}")
WITHOUT_SCHEMA = {"Namespace", "ConfigMap", "PodMonitor"}
BASE = [tree for path in sorted((CLUSTER / "base").glob("ray-*.yaml")) for tree in yaml.safe_load_all(path.read_text())]
EVERYTHING = [
    *(pytest.param(tree, id=f"base-{tree['kind']}") for tree in BASE),
    *(pytest.param(stage_job(stage), id=f"stage-{stage}") for stage in STAGES),
    *(
        pytest.param(tree, id=f"{overlay}-{tree['kind']}-{tree['metadata']['name']}")
        for overlay in OVERLAYS
        for tree in rendered(overlay)
        if tree["kind"] not in WITHOUT_SCHEMA
    ),
]


@needs_definitions
@pytest.mark.parametrize("tree", EVERYTHING)
def test_a_manifest_is_strictly_valid_for_kuberay(tree):
    assert violations(deepcopy(tree)) == []


@pytest.mark.parametrize("tree", EVERYTHING)
def test_a_manifest_keeps_the_rules(tree):
    assert problems(tree) == []


def misspell_ports(tree: Tree) -> None:
    pods_of(tree)[0]["containers"][0]["prots"] = []


@needs_definitions
@pytest.mark.parametrize(
    ("kind", "change", "named"),
    [
        ("RayCluster", lambda tree: tree["spec"].update(rayVersoin="2.60.0"), "rayVersoin"),
        ("RayCluster", lambda tree: tree["spec"]["authOptions"].update(mode="tokn"), "tokn"),
        ("RayCluster", lambda tree: tree["spec"]["workerGroupSpecs"][0].update(minReplicas="one"), "one"),
        ("StatefulSet", misspell_ports, "prots"),
    ],
)
def test_the_schemas_refuse_a_misspelt_field_or_value(kind, change, named):
    tree = deepcopy(object_of(rendered("multi-gpu"), kind))
    change(tree)
    assert any(named in violation for violation in violations(tree))


def worker(tree: Tree) -> Tree:
    return pods_of(tree)[1]["containers"][0]


def unmount_keys(tree: Tree) -> None:
    worker(tree)["volumeMounts"] = [mount for mount in worker(tree)["volumeMounts"] if mount["name"] != "keys"]


def change_version(tree: Tree) -> None:
    worker(tree)["image"] = worker(tree)["image"].replace("ray2.", "ray1.")


BROKEN: list[tuple[str, Callable[[Tree], Any], str]] = [
    ("RayCluster", lambda tree: worker(tree).update(image="vapray:latest"), "version tag"),
    ("RayCluster", change_version, "one Ray image"),
    ("RayCluster", lambda tree: worker(tree).pop("resources"), "resources set"),
    ("RayCluster", lambda tree: worker(tree)["securityContext"].update(runAsUser=0), "not root"),
    ("RayCluster", lambda tree: pods_of(tree)[0]["volumes"].append({"name": "a", "hostPath": {}}), "hostPath"),
    ("RayCluster", lambda tree: tree["spec"].pop("authOptions"), "token"),
    ("RayCluster", lambda tree: tree["spec"]["headGroupSpec"].update(rayStartParams={}), "head without work"),
    ("RayJob", lambda tree: tree["spec"].update(clusterSelector={"ray.io/cluster": "vapray-jobs"}), "either"),
    ("RayJob", lambda tree: tree["spec"].update(shutdownAfterJobFinishes=True), "one way of deletion"),
    ("RayService", unmount_keys, "API keys"),
]


@pytest.mark.parametrize(("kind", "change", "rule"), BROKEN)
def test_a_broken_manifest_breaks_its_rule(kind, change, rule):
    tree = deepcopy(object_of(rendered("multi-gpu"), kind))
    change(tree)
    assert problems(object_of(rendered("multi-gpu"), kind)) == [] and any(rule in problem for problem in problems(tree))


def test_an_unknown_key_of_a_serve_config_is_refused():
    tree = deepcopy(object_of(rendered("multi-gpu"), "RayService"))
    tree["spec"]["serveConfigV2"] = tree["spec"]["serveConfigV2"].replace("route_prefix", "route_prefx")
    with pytest.raises(ConfigError, match="Did you mean route_prefix"):
        problems(tree)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_ray_pods_have_one_image_a_network_policy_and_a_volume_for_all_of_them(overlay):
    objects = rendered(overlay)
    pods = [pod for tree in objects if ray_spec(tree) for pod in pods_of(tree)]
    assert len({pod["containers"][0]["image"] for pod in pods}) == 1
    selected = [tree["spec"]["podSelector"] for tree in objects if tree["kind"] == "NetworkPolicy"]
    assert {"matchLabels": {"ray.io/is-ray-node": "yes"}} in selected
    several_nodes = any(len(groups_of(spec)) > 1 for tree in objects if (spec := ray_spec(tree)))
    (mode,) = object_of(objects, "PersistentVolumeClaim")["spec"]["accessModes"]
    assert mode == ("ReadWriteMany" if several_nodes else "ReadWriteOnce")


def test_the_launcher_file_starts_ray_with_a_token():
    launcher = yaml.safe_load((CLUSTER / "ray-up.on-prem.yaml").read_text())
    commands = launcher["head_start_ray_commands"] + launcher["worker_start_ray_commands"]
    starts = [command for command in commands if "ray start" in command]
    assert len(starts) == 2 and all("RAY_AUTH_MODE=token" in command for command in starts)


def test_tls_is_an_option_that_needs_an_alpha_feature():
    for tree in render(CLUSTER / "tls", deepcopy(rendered("multi-gpu"))):
        if tree["kind"] in RAY_SPECS:
            assert problems(tree) == ["no alpha field of KubeRay 1.7"]
            assert not DEFINITIONS.is_dir() or violations(tree) == []


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl to compare with")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubectl_renders_the_same_objects(overlay):
    command = ["kubectl", "kustomize", CLUSTER / "overlays" / overlay]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def by_name(trees: Any) -> dict[tuple[str, str], Tree]:
        return {(tree["kind"], tree["metadata"]["name"]): tree for tree in trees}

    assert by_name(yaml.safe_load_all(printed)) == by_name(rendered(overlay))


def demands(entrypoint: str) -> Iterator[ResourceDemand]:
    """Resource demands of the stages that an entry point runs; its config must load."""
    python, dash_m, module, option, file, *overrides = shlex.split(entrypoint)
    assert (python, dash_m, option) == ("python", "-m", "--config") and find_spec(module)
    name = module.removeprefix("jobs.")
    stages = [stage.name for stage in select_stages(None)] if name == "pipeline" else STAGES_OF_JOB[name]
    for demand in resource_demands(load_config(str(ROOT / file.removeprefix("/app/")), overrides)):
        if set(stages).intersection(demand.stages):
            yield demand


def resources_of(group: Tree) -> dict[str, float]:
    """Resources that Ray sees in one pod of a group."""
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    cpus = group["rayStartParams"].get("num-cpus", limits["cpu"])
    found = {"CPU": cpus, "GPU": limits.get("nvidia.com/gpu", 0), **group.get("resources", {})}
    return {name: float(amount) for name, amount in found.items()}


def held(spec: Tree, demand: ResourceDemand) -> list[int]:
    """Number of bundles of a demand that each group holds at its maximum size; groups without any are left out."""
    counts = [
        group.get("maxReplicas", 1) * bundles_per_node(resources_of(group), demand.bundle) for group in groups_of(spec)
    ]
    return [count for count in counts if count]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_pipeline_fits_its_cluster(overlay):
    job = object_of(rendered(overlay), "RayJob")["spec"]
    for demand in demands(job["entrypoint"]):
        assert sum(held(job["rayClusterSpec"], demand)) >= demand.count, demand
    assert ("s3://" in job["entrypoint"]) == ("workerGroupSpecs" in job["rayClusterSpec"])


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_fits_the_cluster_that_its_job_selects(stage):
    """One GPU holds fewer training workers than the config asks for, but one of every kind."""
    job = stage_job(stage)["spec"]
    for overlay in ("multi-gpu", "single-gpu"):
        cluster = object_of(rendered(overlay), "RayCluster")
        assert job["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
        for demand in demands(job["entrypoint"]):
            assert sum(held(cluster["spec"], demand)) >= (demand.count if overlay == "multi-gpu" else 1), demand


def test_each_gpu_group_takes_its_own_work():
    """Captions must not start on the pods of 8 GPUs that are for training."""
    objects = rendered("multi-gpu")
    pipeline, standing = object_of(objects, "RayJob")["spec"], object_of(objects, "RayCluster")["spec"]
    jobs = [(pipeline["entrypoint"], pipeline["rayClusterSpec"])]
    jobs += [(stage_job(stage)["spec"]["entrypoint"], standing) for stage in STAGES]
    for entrypoint, spec in jobs:
        for demand in demands(entrypoint):
            assert "GPU" not in demand.bundle or len(held(spec, demand)) == 1, (entrypoint, demand)


def test_a_role_that_no_group_offers_holds_nothing():
    spec = object_of(rendered("multi-gpu"), "RayCluster")["spec"]
    assert held(spec, ResourceDemand("an actor", {"CPU": 1, "capton": 1})) == []
