"""Rules for the manifests of ``cluster/`` that no schema covers, and the pods and Ray clusters that they apply to."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from serve.settings import read_settings
from tests.conftest import ROOT
from vapray.service.serve_config import parse_serve_config

__all__ = ["RAY_SPECS", "RAY_VERSION", "Tree", "groups_of", "pods_of", "problems", "ray_spec"]

Tree = dict[str, Any]
RAY_SPECS = {"RayCluster": None, "RayJob": "rayClusterSpec", "RayService": "rayClusterConfig"}
"""Kind -> field of its ``spec`` that holds the Ray cluster; None: ``spec`` itself."""
RAY_VERSION = re.findall(r"^ray==(\S+)", (ROOT / "constraints.txt").read_text(), re.M)[0]
RESOURCES = (("requests", "cpu"), ("requests", "memory"), ("limits", "memory"))


def ray_spec(tree: Tree) -> Tree | None:
    """Return the Ray cluster that an object describes; None for other kinds and for a job on an existing cluster."""
    if tree["kind"] not in RAY_SPECS:
        return None
    field = RAY_SPECS[tree["kind"]]
    return tree["spec"].get(field) if field else tree["spec"]


def groups_of(spec: Tree) -> list[Tree]:
    """List the head group and the worker groups of a Ray cluster."""
    return [spec["headGroupSpec"], *spec.get("workerGroupSpecs", ())]


def pods_of(tree: Tree) -> list[Tree]:
    """List the pod specs of an object."""
    if spec := ray_spec(tree):
        return [group["template"]["spec"] for group in groups_of(spec)]
    return [tree["spec"]["template"]["spec"]] if tree["kind"] == "StatefulSet" else []


def problems(tree: Tree) -> list[str]:
    """List the broken rules of one object."""
    found = [rule for pod in pods_of(tree) for rule in _pod_problems(pod)]
    if spec := ray_spec(tree):
        found += _broken(_ray_rules(spec))
    if tree["kind"] == "RayJob":
        found += _broken(_job_rules(tree["spec"]))
    if tree["kind"] == "RayService":
        found += _service_problems(tree)
    return found


def _broken(rules: dict[str, Any]) -> list[str]:
    return [rule for rule, holds in rules.items() if not holds]


def _pod_problems(pod: Tree) -> Iterator[str]:
    if any("hostPath" in volume for volume in pod.get("volumes", ())):
        yield "no hostPath volume"
    for container in [*pod["containers"], *pod.get("initContainers", ())]:
        yield from (f"{container['name']}: {rule}" for rule in _broken(_container_rules(container, pod)))


def _container_rules(container: Tree, pod: Tree) -> dict[str, Any]:
    security = pod.get("securityContext", {}) | container.get("securityContext", {})
    resources = container.get("resources", {})
    return {
        "image with a version tag": re.search(r":(?!latest$)[^/:]+$", container.get("image", "")),
        "resources set": all(resources.get(kind, {}).get(name) for kind, name in RESOURCES),
        "not root": security.get("runAsNonRoot") is True and security.get("runAsUser") != 0,
        "no privileges": security.get("allowPrivilegeEscalation") is False and not security.get("privileged"),
        "read-only root filesystem": security.get("readOnlyRootFilesystem") is True,
        "capabilities dropped": "ALL" in security.get("capabilities", {}).get("drop", ()),
    }


def _ray_rules(spec: Tree) -> dict[str, Any]:
    images = {group["template"]["spec"]["containers"][0].get("image", "") for group in groups_of(spec)}
    head_cpus = spec["headGroupSpec"].get("rayStartParams", {}).get("num-cpus")
    alpha = {"networkPolicy", "tlsOptions"} & spec.keys()
    return {
        "rayVersion of constraints.txt": spec.get("rayVersion") == RAY_VERSION,
        "one Ray image with that version": len(images) == 1 and f"-ray{RAY_VERSION}-" in images.pop(),
        "token authentication": spec.get("authOptions") == {"mode": "token"},
        "head without work": head_cpus == "0" or not spec.get("workerGroupSpecs"),
        "no alpha field of KubeRay 1.7": not alpha
        and spec.get("gcsFaultToleranceOptions", {}).get("backend") != "rocksdb",
    }


def _job_rules(spec: Tree) -> dict[str, Any]:
    """Rules of KubeRay's operator, version 1.7; the API server does not check them."""
    has_own_cluster = "rayClusterSpec" in spec
    rules = spec.get("deletionStrategy", {}).get("deletionRules", ())
    deletes_cluster = {rule["policy"] for rule in rules} & {"DeleteCluster", "DeleteWorkers"}
    return {
        "either rayClusterSpec or clusterSelector": has_own_cluster != ("clusterSelector" in spec),
        "no retries on another cluster": has_own_cluster or spec["backoffLimit"] == 0,
        "no deletion of another cluster": has_own_cluster or not deletes_cluster,
        "one way of deletion": not (rules and spec.get("shutdownAfterJobFinishes")),
    }


def _service_problems(tree: Tree) -> Iterator[str]:
    """Read the Serve config with vapray's strict readers; every pod must mount its file of API keys."""
    config = parse_serve_config(tree["spec"]["serveConfigV2"], where="serveConfigV2")
    keys = PurePosixPath(read_settings(config.args).api_keys_file or "missing")
    for pod in pods_of(tree):
        mounts = {PurePosixPath(mount["mountPath"]) for mount in pod["containers"][0]["volumeMounts"]}
        if not mounts & {keys, *keys.parents}:
            yield "file of API keys mounted in every pod"
