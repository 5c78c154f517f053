"""What any pod of a cluster has to say: its image, its share of a node, its rights, its volumes.

Each function yields problems: where, and what is wrong.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from vapray.doctor.manifest_files import Container, Manifest, items, section

__all__ = [
    "host_paths",
    "loose_tags",
    "missing_resources",
    "open_networks",
    "root_containers",
    "volumes_of_one_node",
    "writable_containers",
]

RESOURCES = (("requests", "cpu"), ("requests", "memory"), ("limits", "memory"))
FOR_MANY = {"ReadWriteMany", "ReadOnlyMany"}


def _containers(manifests: Sequence[Manifest]) -> Iterator[Container]:
    for manifest in manifests:
        for pod in manifest.pods():
            yield from pod.containers()


def loose_tags(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Images without a version, and those whose version is ``latest``."""
    for container in _containers(manifests):
        tag = container.image.rpartition("/")[2].partition(":")[2]
        if "@sha256:" not in container.image and tag in ("", "latest"):
            yield f"{container.where}: image {container.image or 'missing'}"


def missing_resources(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Containers that do not say what they take of a node."""
    for container in _containers(manifests):
        resources = section(container.tree, "resources")
        missing = [f"{kind}.{name}" for kind, name in RESOURCES if not section(resources, kind).get(name)]
        if missing:
            yield f"{container.where}: resources without {', '.join(missing)}"


def host_paths(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Folders of a node."""
    for manifest in manifests:
        if manifest.kind == "PersistentVolume" and "hostPath" in manifest.spec:
            yield f"{manifest.where}: hostPath"
        for pod in manifest.pods():
            for volume in items(pod.tree, "volumes"):
                if "hostPath" in volume:
                    yield f"{pod.where}: the volume {volume.get('name')} is a hostPath"


def volumes_of_one_node(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Claims for a single node that several pods of one object mount. Claims of other files are not known."""
    modes = {
        manifest.name: {str(mode) for mode in manifest.spec.get("accessModes") or ()}
        for manifest in manifests
        if manifest.kind == "PersistentVolumeClaim"
    }
    for manifest in manifests:
        pods: Counter[str] = Counter()
        for pod in manifest.pods():
            pods.update(dict.fromkeys(pod.claims(), pod.most))
        for claim, most in pods.items():
            if most > 1 and claim in modes and not modes[claim] & FOR_MANY:
                yield f"{manifest.where}: up to {most} pods mount {claim}, which is {', '.join(sorted(modes[claim]))}"


def root_containers(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Containers that may be root, or become it."""
    for container in _containers(manifests):
        if container.security("runAsNonRoot") is not True or container.security("runAsUser") == 0:
            yield f"{container.where}: may run as root"
        if container.security("privileged") or container.security("allowPrivilegeEscalation") is not False:
            yield f"{container.where}: may gain privileges"


def writable_containers(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Containers that could change their own programs, or keep capabilities."""
    for container in _containers(manifests):
        if container.security("readOnlyRootFilesystem") is not True:
            yield f"{container.where}: the root filesystem is writable"
        if "ALL" not in (section(container.tree, "securityContext", "capabilities").get("drop") or ()):
            yield f"{container.where}: keeps capabilities"


def open_networks(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Ray clusters beside which no policy stands."""
    guarded = any(manifest.kind == "NetworkPolicy" for manifest in manifests)
    for manifest in manifests:
        ray = manifest.ray()
        if ray and not guarded and not ray.tree.get("networkPolicy"):
            yield f"{ray.where}: any pod may connect"
