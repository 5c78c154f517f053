"""``vapray doctor --manifests``: what a schema does not see is found, named and explained."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tests.cluster.broken import BROKEN, Tree
from tests.conftest import ROOT
from vapray.cli import app
from vapray.doctor.findings import Finding
from vapray.doctor.manifest_files import LOADER
from vapray.doctor.manifests import CHECKS, examine

FILES = ("ray-cluster.yaml", "ray-job.pipeline.yaml", "ray-service.yaml", "storage.yaml", "network-policy.yaml")


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in FILES:
        shutil.copy(ROOT / "cluster/base" / name, tmp_path)
    shutil.copy(ROOT / "cluster/ray-up.on-prem.yaml", tmp_path)
    shutil.copy(ROOT / "constraints.txt", tmp_path)
    shutil.copytree(ROOT / "jobs/configs", tmp_path / "jobs/configs")
    return tmp_path


def change(folder: Path, name: str, mutate: Callable[[Tree], object]) -> None:
    trees = list(yaml.load_all((folder / name).read_text(), Loader=LOADER))
    mutate(trees[0])
    (folder / name).write_text(yaml.safe_dump_all(trees))


def problems(path: Path) -> list[Finding]:
    return [finding for finding in examine(str(path)) if finding.state != "ok"]


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
    assert done.exit_code == 2 and "--manifests cannot be combined" in done.output
