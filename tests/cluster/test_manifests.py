"""What ``cluster/`` publishes: strictly valid for KubeRay, sound by the doctor, and what kubectl makes of it."""

import shutil
import subprocess
from copy import deepcopy
from typing import Any

import pytest
import yaml

from tests.cluster.rendering import CLUSTER, OVERLAYS, render, rendered
from tests.cluster.schemas import DEFINITIONS, fields, violations
from vapray.doctor.manifest_files import RAY_SPECS
from vapray.doctor.manifests import examine
from vapray.doctor.ray_fields import known_fields

PLAIN = sorted([*(CLUSTER / "base").glob("ray-*.yaml"), *(CLUSTER / "jobs").glob("*.yaml")])
needs_definitions = pytest.mark.skipif(not DEFINITIONS.is_dir(), reason=f"no KubeRay CRDs in {DEFINITIONS}")


def everything() -> list[tuple[str, dict[str, Any]]]:
    files = [(path.name, tree) for path in PLAIN for tree in yaml.safe_load_all(path.read_text())]
    return files + [(overlay, tree) for overlay in OVERLAYS for tree in rendered(overlay)]


UNKNOWN_TO_KUBERAY = {"Namespace", "ConfigMap", "PodMonitor"}


@needs_definitions
def test_every_manifest_is_strictly_valid_for_kuberay():
    trees = [(where, tree) for where, tree in everything() if tree["kind"] not in UNKNOWN_TO_KUBERAY]
    wrong = {f"{where} {tree['kind']}": found for where, tree in trees if (found := violations(deepcopy(tree)))}
    kinds = {tree["kind"] for _, tree in trees}
    assert kinds == {*RAY_SPECS, "StatefulSet", "Service", "PersistentVolumeClaim", "NetworkPolicy"} and wrong == {}
    assert len(trees) == len(PLAIN) + 8 * len(OVERLAYS)


@needs_definitions
def test_the_doctors_field_names_are_kuberays():
    for name, known in known_fields().items():
        assert known == (fields(name) if name in RAY_SPECS else fields("RayCluster", name)), name


@needs_definitions
@pytest.mark.parametrize(("name", "key"), [("redis.yaml", "serviceName"), ("network-policy.yaml", "ingress")])
def test_a_misspelt_field_of_kubernetes_own_kinds_is_refused(name, key):
    tree = next(t for t in yaml.safe_load_all((CLUSTER / "base" / name).read_text()) if key in t["spec"])
    place = tree["spec"]["template"]["spec"]["containers"][0] if key == "serviceName" else tree["spec"]["ingress"][0]
    place["prots"] = []
    assert any("prots" in violation for violation in violations(tree))


@needs_definitions
@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("rayVersoin",), "2.60.0", "rayVersoin"),
        (("headGroupSpec", "template", "spec", "volumes", 0, "emptydir"), {}, "emptydir"),
        (("authOptions", "mode"), "tokn", "tokn"),
        (("workerGroupSpecs", 0, "minReplicas"), "one", "one"),
    ],
)
def test_a_misspelt_field_or_value_is_refused(path, value, said):
    tree = yaml.safe_load((CLUSTER / "base/ray-cluster.yaml").read_text())
    place = tree["spec"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert any(said in violation for violation in violations(tree))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_doctor_finds_nothing_in_an_overlay(overlay, tmp_path):
    path = tmp_path / "rendered.yaml"
    path.write_text(yaml.safe_dump_all(rendered(overlay)))
    assert [finding for finding in examine(str(path)) if finding.state != "ok"] == []


def test_the_doctor_finds_nothing_in_the_folder():
    findings = list(examine(str(CLUSTER)))
    assert [finding for finding in findings if finding.state != "ok"] == []
    assert "3 describe Ray clusters" in findings[0].found


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl to compare with")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_are_what_kubectl_makes_of_them(overlay):
    done = subprocess.run(
        ["kubectl", "kustomize", CLUSTER / "overlays" / overlay], capture_output=True, text=True, check=True
    )

    def by_name(trees):
        return {(tree["kind"], tree["metadata"]["name"]): tree for tree in trees}

    assert by_name(yaml.safe_load_all(done.stdout)) == by_name(rendered(overlay))


def test_every_object_has_the_label_by_which_parts_are_applied():
    parts = {tree["metadata"]["labels"]["app.kubernetes.io/component"] for tree in rendered("multi-gpu")}
    assert parts == {"shared", "cluster", "pipeline", "service"}


def test_tls_is_an_option_that_tells_its_feature_gate(tmp_path):
    path = tmp_path / "rendered.yaml"
    objects = render(CLUSTER / "tls", deepcopy(rendered("multi-gpu")))
    path.write_text(yaml.safe_dump_all(objects))
    told = [finding.found for finding in examine(str(path)) if finding.state != "ok"]
    assert len(told) == 3 and all("tlsOptions needs the feature gate RayClusterMTLS" in text for text in told)
    if DEFINITIONS.is_dir():
        assert [found for tree in objects if tree["kind"] in RAY_SPECS for found in violations(tree)] == []
