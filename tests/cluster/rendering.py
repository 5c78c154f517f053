"""Kustomize renderer for the features that ``cluster/`` uses, so that overlays are tested without kubectl.

Features: resources, components, JSON patches, images, generated ConfigMaps. Where kubectl is installed, a test compares
its output with this renderer.
"""

import re
import subprocess
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT

__all__ = ["CLUSTER", "OVERLAYS", "STAGES", "object_of", "render", "rendered", "stage_job"]

CLUSTER = ROOT / "cluster"
OVERLAYS = sorted(path.name for path in (CLUSTER / "overlays").iterdir())
STAGES = sorted({path.stem for path in (ROOT / "jobs").glob("[a-z]*.py")} - {"pipeline"})
KNOWN = {"apiVersion", "kind", "namespace", "resources", "components", "configMapGenerator", "images", "patches"}


@cache
def rendered(overlay: str) -> list[dict[str, Any]]:
    """Return the objects of an overlay; callers must not change them."""
    return render(CLUSTER / "overlays" / overlay)


def stage_job(stage: str) -> dict[str, Any]:
    """Render the RayJob of a stage with the command that the template documents."""
    command = ["sed", f"s/STAGE/{stage}/", str(CLUSTER / "jobs/ray-job.stage.yaml")]
    job: dict[str, Any] = yaml.safe_load(subprocess.run(command, capture_output=True, check=True).stdout)
    return job


def object_of(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Return the only object of a kind."""
    (found,) = [tree for tree in objects if tree["kind"] == kind]
    return found


def render(folder: Path, inherited: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """Render a kustomization; a component changes the inherited objects."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert kustomization.keys() <= KNOWN, f"{folder}: not rendered here: {kustomization.keys() - KNOWN}"
    objects = inherited or []
    for name in kustomization.get("resources", ()):
        objects += (
            list(yaml.safe_load_all((folder / name).read_text())) if name.endswith(".yaml") else render(folder / name)
        )
    for name in kustomization.get("components", ()):
        objects = render(folder / name, objects)
    objects += [_config_map(folder, generator) for generator in kustomization.get("configMapGenerator", ())]
    for patch in kustomization.get("patches", ()):
        text = patch["patch"] if "patch" in patch else (folder / patch["path"]).read_text()
        (target,) = [found for found in objects if _is(found, patch["target"])]
        for operation in yaml.safe_load(text):
            _apply(target, operation)
    for image in kustomization.get("images", ()):
        for container in (box for found in objects for box in _containers(found)):
            name, _, tag = container["image"].partition(":")
            if name == image["name"]:
                container["image"] = f"{image.get('newName', name)}:{image.get('newTag', tag)}"
    if namespace := kustomization.get("namespace"):
        for found in objects:
            if found["kind"] != "Namespace":
                found["metadata"]["namespace"] = namespace
    return objects


def _config_map(folder: Path, generator: dict[str, Any]) -> dict[str, Any]:
    assert generator["options"]["disableNameSuffixHash"]
    literals = dict(literal.split("=", 1) for literal in generator.get("literals", ()))
    files = {name: (folder / name).read_text() for name in generator.get("files", ())}
    metadata = {"name": generator["name"], "labels": generator["options"]["labels"]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": literals | files}


def _is(found: dict[str, Any], target: dict[str, str]) -> bool:
    return found["kind"] == target["kind"] and found["metadata"]["name"] == target["name"]


def _apply(tree: Any, operation: dict[str, Any]) -> None:
    *path, last = [re.sub("~1", "/", part) for part in operation["path"].strip("/").split("/")]
    for part in path:
        tree = tree[int(part)] if isinstance(tree, list) else tree[part]
    key: Any = int(last) if isinstance(tree, list) else last
    match operation["op"]:
        case "remove":
            del tree[key]
        case "replace":
            assert tree[key] is not None
            tree[key] = deepcopy(operation["value"])
        case "add":
            assert isinstance(tree, dict)
            tree[key] = deepcopy(operation["value"])
        case "test":
            assert tree[key] == operation["value"], f"{operation['path']} is {tree[key]}"
        case other:
            raise AssertionError(f"not rendered here: {other}")


def _containers(tree: Any) -> Iterator[dict[str, Any]]:
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        if key in ("containers", "initContainers"):
            yield from value
        else:
            yield from _containers(value)
