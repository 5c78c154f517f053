"""Kubernetes manifests and Ray launcher files, read for what they run: Ray clusters, pods, containers, claims."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vapray.errors import ConfigError

__all__ = [
    "LOADER",
    "RAY_SPECS",
    "Container",
    "Manifest",
    "Pod",
    "RaySpec",
    "Tree",
    "items",
    "read_manifests",
    "section",
]

RAY_SPECS: dict[str, tuple[str, ...]] = {
    "RayCluster": (),
    "RayJob": ("rayClusterSpec",),
    "RayService": ("rayClusterConfig",),
}
"""Where a kind describes a Ray cluster, below its ``spec``."""
POD_TEMPLATES = {
    "Deployment": ("template",),
    "StatefulSet": ("template",),
    "DaemonSet": ("template",),
    "Job": ("template",),
    "CronJob": ("jobTemplate", "spec", "template"),
    "RayJob": ("submitterPodTemplate",),
}
# The same values several times as fast, where PyYAML was built with it.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Tree = Mapping[str, Any]


def section(tree: Any, *path: str) -> Tree:
    """Below these keys; empty where there is no such mapping, so that a broken file is examined to its end."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree if isinstance(tree, Mapping) else {}


def items(tree: Tree, key: str) -> list[Tree]:
    """The mappings of a list; empty where there is no list."""
    found = tree.get(key)
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


@dataclass(frozen=True)
class Container:
    """One container of a pod."""

    where: str
    tree: Tree
    pod: Tree
    """The pod's ``spec``."""

    @property
    def image(self) -> str:
        """Empty where none is named."""
        return str(self.tree.get("image") or "")

    def security(self, key: str) -> Any:
        """Of its security context, or else of its pod's."""
        own, shared = section(self.tree, "securityContext"), section(self.pod, "securityContext")
        return own.get(key, shared.get(key))


@dataclass(frozen=True)
class Pod:
    """A template of pods."""

    where: str
    tree: Tree
    """Its ``spec``."""
    most: int = 1
    """Pods made of it, at the most."""

    def containers(self) -> Iterator[Container]:
        """The main one first, those that prepare the pod last."""
        for kind in ("containers", "initContainers"):
            for number, tree in enumerate(items(self.tree, kind)):
                yield Container(f"{self.where}, container {tree.get('name', number)}", tree, self.tree)

    def claims(self) -> Iterator[str]:
        """Names of the claims that it mounts."""
        for volume in items(self.tree, "volumes"):
            if name := section(volume, "persistentVolumeClaim").get("claimName"):
                yield str(name)


@dataclass(frozen=True)
class RaySpec:
    """The Ray cluster that a RayCluster, RayJob or RayService describes."""

    where: str
    file: str
    tree: Tree

    def pods(self) -> Iterator[Pod]:
        """The head, then each group of workers."""
        yield Pod(f"{self.where}, head", section(self.tree, "headGroupSpec", "template", "spec"))
        for number, group in enumerate(items(self.tree, "workerGroupSpecs")):
            where = f"{self.where}, group {group.get('groupName', number)}"
            yield Pod(
                where, section(group, "template", "spec"), _count(group.get("maxReplicas", group.get("replicas")))
            )

    def images(self) -> dict[str, str]:
        """Images of its Ray processes, and where each stands first."""
        found: dict[str, str] = {}
        for pod in self.pods():
            for container in list(pod.containers())[:1]:
                found.setdefault(container.image, container.where)
        return found


@dataclass(frozen=True)
class Manifest:
    """One object of a file."""

    file: str
    tree: Tree

    @property
    def kind(self) -> str:
        """``RayCluster``, ``PersistentVolumeClaim``, ...; empty for what ``ray up`` takes."""
        return str(self.tree.get("kind", ""))

    @property
    def name(self) -> str:
        """Of the object."""
        metadata = section(self.tree, "metadata")
        return str(metadata.get("name", metadata.get("generateName", "without a name")))

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.file}: {self.kind} {self.name}" if self.kind else self.file

    @property
    def spec(self) -> Tree:
        """What it asks for."""
        return section(self.tree, "spec")

    def ray(self) -> RaySpec | None:
        """The Ray cluster in it; None where there is none, as in a job on a standing cluster."""
        if self.kind not in RAY_SPECS:
            return None
        tree = section(self.spec, *RAY_SPECS[self.kind])
        return RaySpec(self.where, self.file, tree) if tree else None

    def pods(self) -> Iterator[Pod]:
        """Of every kind of object that makes some."""
        if ray := self.ray():
            yield from ray.pods()
        if self.kind == "Pod":
            yield Pod(self.where, self.spec)
        if self.kind in POD_TEMPLATES and (tree := section(self.spec, *POD_TEMPLATES[self.kind], "spec")):
            yield Pod(self.where, tree, _count(self.spec.get("replicas")))


def read_manifests(path: str) -> list[Manifest]:
    """All objects of a file, or of the YAML files below a folder. What a kustomization names as a patch is none.

    Raises:
        ConfigError: nothing there, or files that are not YAML: all of them in one error.
    """
    root, problems = Path(path), []
    files = [root] if root.is_file() else sorted([*root.rglob("*.yaml"), *root.rglob("*.yml")])
    trees: dict[Path, list[Any]] = {}
    for file in files:
        try:
            trees[file] = list(yaml.load_all(file.read_text(encoding="utf-8"), Loader=LOADER))
        except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
            problems.append(f"{file}: cannot be read as YAML ({' '.join(str(error).split())})")
    if problems:
        raise ConfigError("\n  ".join(problems))
    patches = {patch for file, documents in trees.items() for patch in _patches(file, documents)}
    manifests = [
        Manifest(str(file), tree)
        for file, documents in trees.items()
        if file.resolve() not in patches
        for tree in documents
        if _is_object(tree)
    ]
    if not manifests:
        raise ConfigError(f"{path}: no Kubernetes manifest and no Ray launcher file. Give a folder such as cluster/.")
    return manifests


def _is_object(tree: Any) -> bool:
    return isinstance(tree, dict) and ({"kind", "apiVersion"} <= {*tree} or {"cluster_name", "provider"} <= {*tree})


def _patches(file: Path, documents: list[Any]) -> Iterator[Path]:
    for tree in documents:
        if isinstance(tree, dict) and tree.get("kind") in ("Kustomization", "Component"):
            for patch in items(tree, "patches"):
                if "path" in patch:
                    yield (file.parent / str(patch["path"])).resolve()


def _count(replicas: Any) -> int:
    return replicas if isinstance(replicas, int) else 1
