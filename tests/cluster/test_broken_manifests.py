"""``vapray doctor --manifests``: what a schema does not see is found, named and explained."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from tests.conftest import ROOT
from vapray.cli import app
from vapray.doctor.findings import Finding
from vapray.doctor.manifest_files import LOADER
from vapray.doctor.manifests import CHECKS, examine

FILES = ("ray-cluster.yaml", "ray-job.pipeline.yaml", "ray-service.yaml", "storage.yaml", "network-policy.yaml")
Tree = dict[str, Any]


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in FILES:
        shutil.copy(ROOT / "cluster/base" / name, tmp_path)
    shutil.copy(ROOT / "cluster/ray-up.on-prem.yaml", tmp_path)
    shutil.copy(ROOT / "constraints.txt", tmp_path)
    return tmp_path


def change(folder: Path, name: str, mutate: Callable[[Tree], object]) -> None:
    trees = list(yaml.load_all((folder / name).read_text(), Loader=LOADER))
    mutate(trees[0])
    (folder / name).write_text(yaml.safe_dump_all(trees))


def problems(path: Path) -> list[Finding]:
    return [finding for finding in examine(str(path)) if finding.state != "ok"]


def head(tree: Tree) -> Tree:
    return tree["spec"]["headGroupSpec"]["template"]["spec"]


def worker(tree: Tree, group: int = 0) -> Tree:
    return tree["spec"]["workerGroupSpecs"][group]["template"]["spec"]


def box(pod: Tree) -> Tree:
    return pod["containers"][0]


def misspell(tree: Tree) -> None:
    tree["spec"]["serveConfigV2"] = tree["spec"]["serveConfigV2"].replace("route_prefix", "route_prefx")


def without_keys(tree: Tree) -> None:
    tree["spec"]["serveConfigV2"] = tree["spec"]["serveConfigV2"].replace("      keys: /etc/vapray/keys.yaml\n", "")


def without_key_volume(tree: Tree) -> None:
    mounts = box(tree["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"])["volumeMounts"]
    mounts[:] = [mount for mount in mounts if mount["name"] != "keys"]


BROKEN = {
    "misspelt field of a cluster": (
        "ray-cluster.yaml",
        lambda t: t["spec"].update(enableInTreeAutoscalling=True),
        "fields",
        "Did you mean enableInTreeAutoscaling?",
    ),
    "misspelt field of a job": (
        "ray-job.pipeline.yaml",
        lambda t: t["spec"].update(backofLimit=3),
        "fields",
        "Did you mean backoffLimit?",
    ),
    "misspelt field of a group": (
        "ray-cluster.yaml",
        lambda t: t["spec"]["workerGroupSpecs"][0].update(maxReplica=3),
        "fields",
        "group cpu: unknown field maxReplica. Did you mean maxReplicas?",
    ),
    "no ray version": ("ray-cluster.yaml", lambda t: t["spec"].pop("rayVersion"), "ray version", "no rayVersion"),
    "another ray": (
        "ray-cluster.yaml",
        lambda t: t["spec"].update(rayVersion="2.59.0"),
        "ray version",
        "as in constraints",
    ),
    "another ray in the image": (
        "ray-cluster.yaml",
        lambda t: box(head(t)).update(image="vapray:0.1.0-ray2.59.0-cuda"),
        "ray version",
        "holds Ray 2.59.0, rayVersion says 2.60.0",
    ),
    "ray's own image": (
        "ray-cluster.yaml",
        lambda t: box(head(t)).update(image="rayproject/ray:2.58.1-py311"),
        "ray version",
        "holds Ray 2.58.1",
    ),
    "two images": (
        "ray-cluster.yaml",
        lambda t: box(worker(t)).update(image="vapray:0.1.0-ray2.60.0-cpu"),
        "ray image",
        "group cpu",
    ),
    "latest": ("ray-cluster.yaml", lambda t: box(head(t)).update(image="vapray:latest"), "image tags", "vapray:latest"),
    "no tag": ("ray-cluster.yaml", lambda t: box(head(t)).update(image="host:5000/vapray"), "image tags", "head"),
    "no image": ("ray-cluster.yaml", lambda t: box(head(t)).pop("image"), "image tags", "missing"),
    "no resources": (
        "ray-cluster.yaml",
        lambda t: box(worker(t, 2)).pop("resources"),
        "resources",
        "group caption, container ray-worker: resources without requests.cpu, requests.memory, limits.memory",
    ),
    "no authentication": (
        "ray-cluster.yaml",
        lambda t: t["spec"].pop("authOptions"),
        "authentication",
        "authOptions.mode is missing",
    ),
    "authentication disabled": (
        "ray-job.pipeline.yaml",
        lambda t: t["spec"]["rayClusterSpec"]["authOptions"].update(mode="disabled"),
        "authentication",
        "mode is disabled",
    ),
    "no token by ssh": (
        "ray-up.on-prem.yaml",
        lambda t: t.update(worker_start_ray_commands=["ray start --address=$RAY_HEAD_IP:6379"]),
        "authentication",
        "worker_start_ray_commands",
    ),
    "host path": (
        "ray-cluster.yaml",
        lambda t: head(t)["volumes"].append({"name": "pictures", "hostPath": {"path": "/srv"}}),
        "host paths",
        "pictures",
    ),
    "volume of one node": (
        "storage.yaml",
        lambda t: t["spec"].update(accessModes=["ReadWriteOnce"]),
        "volumes",
        "pods mount vapray-data, which is ReadWriteOnce",
    ),
    "misspelt serve key": ("ray-service.yaml", misspell, "serve config", "Did you mean route_prefix?"),
    "no serve config": (
        "ray-service.yaml",
        lambda t: t["spec"].pop("serveConfigV2"),
        "serve config",
        "wanted keys such as",
    ),
    "service open to all": ("ray-service.yaml", without_keys, "serve config", "listens on 0.0.0.0"),
    "keys not mounted": ("ray-service.yaml", without_key_volume, "serve config", "group cpu: nothing is mounted"),
    "root": ("ray-cluster.yaml", lambda t: head(t).pop("securityContext"), "root", "may run as root"),
    "user 0": (
        "ray-cluster.yaml",
        lambda t: box(head(t))["securityContext"].update(runAsUser=0),
        "root",
        "may run as root",
    ),
    "privileged": (
        "ray-cluster.yaml",
        lambda t: box(head(t))["securityContext"].update(privileged=True),
        "root",
        "may gain privileges",
    ),
    "writable root": (
        "ray-cluster.yaml",
        lambda t: box(head(t))["securityContext"].update(readOnlyRootFilesystem=False),
        "hardening",
        "is writable",
    ),
    "capabilities": (
        "ray-cluster.yaml",
        lambda t: box(head(t))["securityContext"].pop("capabilities"),
        "hardening",
        "keeps capabilities",
    ),
    "retries on a borrowed cluster": (
        "ray-job.pipeline.yaml",
        lambda t: t["spec"].update(clusterSelector={"ray.io/cluster": "vapray-jobs"}),
        "jobs",
        "backoffLimit with clusterSelector",
    ),
    "job without a cluster": (
        "ray-job.pipeline.yaml",
        lambda t: t["spec"].pop("rayClusterSpec"),
        "jobs",
        "neither rayClusterSpec nor clusterSelector",
    ),
    "two ways of deletion": (
        "ray-job.pipeline.yaml",
        lambda t: t["spec"].update(shutdownAfterJobFinishes=True),
        "jobs",
        "deletionRules with shutdownAfterJobFinishes",
    ),
    "alpha field": (
        "ray-cluster.yaml",
        lambda t: t["spec"].update(tlsOptions={"enabled": True}),
        "feature gates",
        "RayClusterMTLS",
    ),
    "alpha backend": (
        "ray-cluster.yaml",
        lambda t: t["spec"].update(gcsFaultToleranceOptions={"backend": "rocksdb"}),
        "feature gates",
        "GCSFaultToleranceEmbeddedStorage",
    ),
    "working head": (
        "ray-cluster.yaml",
        lambda t: t["spec"]["headGroupSpec"].update(rayStartParams={}),
        "head",
        "the head takes work",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_manifest_is_named_with_what_to_do(case, folder):
    name, mutate, check, said = BROKEN[case]
    change(folder, name, mutate)
    found = [finding for finding in problems(folder) if finding.check == check]
    assert found and said in " ".join(finding.found for finding in found)
    assert all(".yaml: " in finding.found and finding.advice for finding in found)


def test_the_unbroken_ones_are_sound(folder):
    assert problems(folder) == []


def test_every_check_is_broken_once():
    assert {check for _, _, check, _ in BROKEN.values()} | {"network"} == {check.name for check in CHECKS}


def test_a_cluster_beside_which_no_policy_stands_is_told(folder):
    (folder / "network-policy.yaml").unlink()
    found = problems(folder)
    assert len(found) == 3 and {finding.check for finding in found} == {"network"}


def test_one_pod_may_have_a_volume_of_one_node(folder):
    change(folder, "storage.yaml", lambda tree: tree["spec"].update(accessModes=["ReadWriteOncePod"]))
    for name in FILES[:3]:
        (folder / name).write_text("")
    assert problems(folder) == []
    pod = {"name": "one", "persistentVolumeClaim": {"claimName": "vapray-data"}}
    single = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "reader"}, "spec": {"volumes": [pod]}}
    (folder / "pod.yaml").write_text(yaml.safe_dump(single))
    assert problems(folder) == []


def test_what_a_kustomization_names_as_a_patch_is_no_manifest_of_its_own(folder):
    part = {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": "vapray-jobs"},
        "spec": {"suspend": True},
    }
    (folder / "part.yaml").write_text(yaml.safe_dump(part))
    assert {finding.check for finding in problems(folder)} >= {"ray version", "authentication"}
    (folder / "kustomization.yaml").write_text("kind: Kustomization\napiVersion: v1\npatches: [{path: part.yaml}]\n")
    assert problems(folder) == []


def test_a_file_that_is_no_yaml_and_a_folder_without_manifests_are_told(tmp_path):
    (tmp_path / "a.yaml").write_text("kind: [")
    (broken,) = examine(str(tmp_path))
    assert "a.yaml: cannot be read as YAML" in broken.found and broken.exit_code == 2
    (tmp_path / "a.yaml").write_text("run: {root: runs/demo}")
    (nothing,) = examine(str(tmp_path))
    assert "no Kubernetes manifest" in nothing.found and nothing.exit_code == 2


SHAPES = (None, [], {}, "text", 7, [None, "text", 7])


@pytest.mark.parametrize(
    "key", ["headGroupSpec", "workerGroupSpecs", "authOptions", "gcsFaultToleranceOptions", "rayVersion"]
)
def test_a_section_of_another_shape_is_examined_to_the_end(key, folder):
    for shape in SHAPES:
        change(folder, "ray-cluster.yaml", lambda tree, shape=shape: tree["spec"].update({key: shape}))
        assert len({finding.check for finding in examine(str(folder))}) == len(CHECKS) + 1


def test_the_command_prints_findings_and_ends_with_code_2(folder):
    change(folder, "ray-cluster.yaml", lambda tree: tree["spec"].pop("authOptions"))
    done = CliRunner().invoke(app, ["doctor", "--manifests", str(folder), "--json"])
    cards = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 2 and [card["check"] for card in cards if card["state"] == "failed"] == ["authentication"]


def test_manifests_and_settings_are_not_looked_at_together():
    done = CliRunner().invoke(app, ["doctor", "--manifests", "cluster", "run.root=elsewhere"])
    assert done.exit_code == 2 and "manifests alone" in done.output
