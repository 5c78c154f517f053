"""What the processes of a Ray cluster have to agree on, and what KubeRay's operator and Serve ask of a manifest.

Each function yields problems: where, and what is wrong.
"""

import importlib.metadata
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from vapray.doctor.manifest_files import Manifest, RaySpec, items, section
from vapray.errors import ConfigError
from vapray.serve_file import parse_serve_config

__all__ = [
    "alpha_features",
    "different_images",
    "different_versions",
    "missing_tokens",
    "ray_specs",
    "refused_jobs",
    "unsound_services",
    "working_heads",
]

PINS = "constraints.txt"
RAY_IN_AN_IMAGE = re.compile(r"(?<![a-z])ray[:-]?(\d+\.\d+\.\d+)")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
GATES = {"networkPolicy": "RayClusterNetworkPolicy", "tlsOptions": "RayClusterMTLS"}
STARTS = ("head_start_ray_commands", "worker_start_ray_commands")


def ray_specs(manifests: Sequence[Manifest]) -> list[RaySpec]:
    """All Ray clusters that are described."""
    return [ray for manifest in manifests if (ray := manifest.ray())]


def different_versions(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Ray's version as it is said, as the project pins it, and as the image's tag has it."""
    for ray in ray_specs(manifests):
        said, pinned = ray.tree.get("rayVersion"), _pinned_ray(ray.file)
        if not said:
            yield f"{ray.where}: no rayVersion, wanted {pinned}"
            continue
        if said != pinned:
            yield f"{ray.where}: rayVersion {said}, wanted {pinned} as in {PINS}"
        for image, where in ray.images().items():
            found = RAY_IN_AN_IMAGE.search(image)
            if found and found[1] != said:
                yield f"{where}: the image {image} holds Ray {found[1]}, rayVersion says {said}"


def _pinned_ray(beside: str) -> str:
    """By the nearest ``constraints.txt`` above a file; without one, the installed Ray's."""
    for folder in Path(beside).resolve().parents:
        if (folder / PINS).is_file():
            for line in (folder / PINS).read_text(encoding="utf-8").splitlines():
                if line.startswith("ray=="):
                    return line.removeprefix("ray==").strip()
    return importlib.metadata.version("ray")


def different_images(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Images of Ray processes, where there is more than one."""
    places = {image: where for ray in reversed(ray_specs(manifests)) for image, where in ray.images().items()}
    if len(places) > 1:
        yield "; ".join(f"{image or 'none'} in {where}" for image, where in sorted(places.items()))


def missing_tokens(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Ray clusters that ask nobody for a token."""
    for ray in ray_specs(manifests):
        mode = section(ray.tree, "authOptions").get("mode")
        if mode != "token":
            yield f"{ray.where}: authOptions.mode is {mode or 'missing'}, wanted token"
    for manifest in manifests:
        for key in STARTS:
            starts = [line for line in manifest.tree.get(key) or () if "ray start" in str(line)]
            if not all("RAY_AUTH_MODE=token" in line for line in starts):
                yield f"{manifest.where}: {key} start Ray without RAY_AUTH_MODE=token"


def unsound_services(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Serve configs with keys that Serve would pass over, open to all, or whose file of API keys no pod has."""
    for manifest in manifests:
        if manifest.kind != "RayService":
            continue
        try:
            config = parse_serve_config(str(manifest.spec.get("serveConfigV2", "")), where="serveConfigV2")
        except ConfigError as error:
            yield f"{manifest.where}: {error}"
            continue
        keys = config.args.get("api_keys_file")
        if keys:
            yield from _pods_without(str(keys), manifest)
        elif config.host not in LOOPBACK:
            yield f"{manifest.where}: serveConfigV2 listens on {config.host} and names no args.api_keys_file"


def _pods_without(keys: str, manifest: Manifest) -> Iterator[str]:
    for pod in manifest.pods():
        mounts = {str(mount.get("mountPath")) for box in pod.containers() for mount in items(box.tree, "volumeMounts")}
        if not mounts & {keys, *map(str, Path(keys).parents)}:
            yield f"{pod.where}: nothing is mounted where args.api_keys_file = {keys} lies"


def refused_jobs(manifests: Sequence[Manifest]) -> Iterator[str]:
    """RayJobs that KubeRay's operator (1.7) refuses, though they satisfy the schema."""
    for manifest in manifests:
        if manifest.kind != "RayJob":
            continue
        spec, borrowed = manifest.spec, bool(manifest.spec.get("clusterSelector"))
        rules = items(section(spec, "deletionStrategy"), "deletionRules")
        foreign = {str(rule.get("policy")) for rule in rules} & {"DeleteCluster", "DeleteWorkers"}
        if manifest.ray() is None and not borrowed:
            yield f"{manifest.where}: neither rayClusterSpec nor clusterSelector"
        if borrowed and spec.get("backoffLimit"):
            yield f"{manifest.where}: backoffLimit with clusterSelector"
        if borrowed and foreign:
            yield f"{manifest.where}: {', '.join(sorted(foreign))} of a cluster that is not the job's"
        if rules and spec.get("shutdownAfterJobFinishes"):
            yield f"{manifest.where}: deletionRules with shutdownAfterJobFinishes"


def alpha_features(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Fields that KubeRay 1.7 takes only behind a feature gate."""
    for ray in ray_specs(manifests):
        for field, gate in GATES.items():
            if ray.tree.get(field):
                yield f"{ray.where}: {field} needs the feature gate {gate}"
        if section(ray.tree, "gcsFaultToleranceOptions").get("backend") == "rocksdb":
            yield f"{ray.where}: the backend rocksdb needs the feature gate GCSFaultToleranceEmbeddedStorage"


def working_heads(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Heads that take work although there are workers."""
    for ray in ray_specs(manifests):
        cpus = section(ray.tree, "headGroupSpec", "rayStartParams").get("num-cpus")
        if items(ray.tree, "workerGroupSpecs") and cpus != "0":
            yield f"{ray.where}: the head takes work beside keeping the cluster together"
