"""Manifests of ``cluster/base``, each broken in one way: file, change, the check that finds it, and its words."""

from collections.abc import Callable
from typing import Any

__all__ = ["BROKEN", "Tree"]

Tree = dict[str, Any]


def head(tree: Tree) -> Tree:
    return tree["spec"]["headGroupSpec"]["template"]["spec"]


def worker(tree: Tree, group: int = 0) -> Tree:
    return tree["spec"]["workerGroupSpecs"][group]["template"]["spec"]


def box(pod: Tree) -> Tree:
    return pod["containers"][0]


def misspell(tree: Tree) -> None:
    tree["spec"]["serveConfigV2"] = tree["spec"]["serveConfigV2"].replace("route_prefix", "route_prefx")


def without_keys(tree: Tree) -> None:
    spec = tree["spec"]
    spec["serveConfigV2"] = spec["serveConfigV2"].replace("      api_keys_file: /etc/vapray/keys.yaml\n", "")


def without_key_volume(tree: Tree) -> None:
    mounts = box(tree["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"])["volumeMounts"]
    mounts[:] = [mount for mount in mounts if mount["name"] != "keys"]


def few_pods(tree: Tree) -> None:
    for group, most in zip(tree["spec"]["rayClusterSpec"]["workerGroupSpecs"], (1, 0, 1, 1), strict=True):
        group.update(maxReplicas=most)


BROKEN: dict[str, tuple[str, Callable[[Tree], object], str, str]] = {
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
    "a role that no group offers": (
        "ray-job.pipeline.yaml",
        lambda t: t["spec"].update(entrypoint=t["spec"]["entrypoint"] + " pools.caption.resources.capton=1"),
        "offers",
        "an actor of caption needs 1 x {CPU: 2, GPU: 1, capton: 1}, and all pods of all groups hold 0",
    ),
    "more workers than GPUs": (
        "ray-job.pipeline.yaml",
        few_pods,
        "offers",
        "train.workers 8 needs 8 x {CPU: 1, GPU: 1}, and all pods of all groups hold 2",
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
