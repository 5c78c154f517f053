"""Fields of KubeRay's own kinds: an API server drops one that it does not know, or refuses the whole object.

Pods are left to Kubernetes, which knows its own fields.
"""

import difflib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import yaml

from vapray.doctor.manifest_files import RAY_SPECS, Manifest, Tree, items, section

__all__ = ["known_fields", "unknown_fields"]

NAMES = Path(__file__).with_name("kuberay_fields.yaml")
SECTIONS = ("headGroupSpec", "autoscalerOptions", "authOptions", "gcsFaultToleranceOptions")


@cache
def known_fields() -> dict[str, set[str]]:
    """A kind or a section of a Ray cluster -> names of its fields."""
    return {name: set(fields) for name, fields in yaml.safe_load(NAMES.read_text(encoding="utf-8")).items()}


def unknown_fields(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Misspelt ones, with the nearest name."""
    for manifest in manifests:
        for where, tree, name in _places(manifest):
            known = known_fields()[name]
            for key in map(str, tree):
                if key not in known:
                    near = difflib.get_close_matches(key, known, n=1)
                    yield f"{where}: unknown field {key}." + (f" Did you mean {near[0]}?" if near else "")


def _places(manifest: Manifest) -> Iterator[tuple[str, Tree, str]]:
    """Where it is, what is there, and what that is called in the list of fields."""
    if manifest.kind not in RAY_SPECS:
        return
    yield manifest.where, manifest.spec, manifest.kind
    if (ray := manifest.ray()) is None:
        return
    if RAY_SPECS[manifest.kind]:
        yield f"{ray.where}, {RAY_SPECS[manifest.kind][0]}", ray.tree, "RayCluster"
    for name in SECTIONS:
        yield f"{ray.where}, {name}", section(ray.tree, name), name
    for group in items(ray.tree, "workerGroupSpecs"):
        yield f"{ray.where}, group {group.get('groupName')}", group, "workerGroupSpecs"
