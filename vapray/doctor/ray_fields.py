"""Fields of KubeRay's own kinds (1.7): an API server drops one that it does not know, or refuses the whole object.

Pods are left to Kubernetes, which knows its own fields. A test holds the names against KubeRay's definitions.
"""

import difflib
from collections.abc import Iterator, Sequence

from vapray.doctor.manifest_files import RAY_SPECS, Manifest, Tree, items, section

__all__ = ["CLUSTER", "KINDS", "SECTIONS", "WORKER_GROUP", "unknown_fields"]

CLUSTER = set(
    [
        "authOptions",
        "autoscalerOptions",
        "enableInTreeAutoscaling",
        "gcsFaultToleranceOptions",
        "headGroupSpec",
        "headServiceAnnotations",
        "historyServerOptions",
        "managedBy",
        "networkPolicy",
        "rayVersion",
        "suspend",
        "tlsOptions",
        "upgradeStrategy",
        "workerGroupSpecs",
    ]
)
WORKER_GROUP = set(
    [
        "groupName",
        "idleTimeoutSeconds",
        "labels",
        "maxReplicas",
        "minReplicas",
        "numOfHosts",
        "priority",
        "rayStartParams",
        "replicas",
        "resources",
        "scaleStrategy",
        "suspend",
        "template",
    ]
)
SECTIONS = {
    "headGroupSpec": set(
        [
            "enableIngress",
            "headService",
            "ingressOptions",
            "labels",
            "rayStartParams",
            "resources",
            "serviceType",
            "template",
        ]
    ),
    "autoscalerOptions": set(
        [
            "args",
            "command",
            "env",
            "envFrom",
            "idleTimeoutSeconds",
            "image",
            "imagePullPolicy",
            "resources",
            "securityContext",
            "upscalingMode",
            "version",
            "volumeMounts",
        ]
    ),
    "authOptions": set(["enableK8sTokenAuth", "mode", "secretName"]),
    "gcsFaultToleranceOptions": set(
        ["backend", "externalStorageNamespace", "redisAddress", "redisPassword", "redisUsername", "storage"]
    ),
}
KINDS = {
    "RayCluster": CLUSTER,
    "RayJob": set(
        [
            "activeDeadlineSeconds",
            "backoffLimit",
            "clusterSelector",
            "deletionStrategy",
            "entrypoint",
            "entrypointNumCpus",
            "entrypointNumGpus",
            "entrypointResources",
            "jobId",
            "managedBy",
            "metadata",
            "preRunningDeadlineSeconds",
            "rayClusterSpec",
            "runtimeEnvYAML",
            "shutdownAfterJobFinishes",
            "submissionMode",
            "submitterConfig",
            "submitterPodTemplate",
            "suspend",
            "ttlSecondsAfterFinished",
        ]
    ),
    "RayService": set(
        [
            "deploymentUnhealthySecondThreshold",
            "excludeHeadPodFromServeSvc",
            "managedBy",
            "rayClusterConfig",
            "rayClusterDeletionDelaySeconds",
            "serveConfigV2",
            "serveService",
            "serviceUnhealthySecondThreshold",
            "suspend",
            "upgradeStrategy",
        ]
    ),
}


def unknown_fields(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Misspelt ones, with the nearest name."""
    for manifest in manifests:
        if manifest.kind not in RAY_SPECS:
            continue
        yield from _unknown(manifest.spec, KINDS[manifest.kind], f"{manifest.where}, spec")
        if (ray := manifest.ray()) is None:
            continue
        if manifest.kind != "RayCluster":
            yield from _unknown(ray.tree, CLUSTER, f"{ray.where}, {RAY_SPECS[manifest.kind][0]}")
        for name, known in SECTIONS.items():
            yield from _unknown(section(ray.tree, name), known, f"{ray.where}, {name}")
        for group in items(ray.tree, "workerGroupSpecs"):
            yield from _unknown(group, WORKER_GROUP, f"{ray.where}, group {group.get('groupName')}")


def _unknown(tree: Tree, known: set[str], where: str) -> Iterator[str]:
    for key in map(str, tree):
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            yield f"{where}: unknown field {key}" + (f". Did you mean {near[0]}?" if near else "")
