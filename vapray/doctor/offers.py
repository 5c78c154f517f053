"""Whether the worker groups of a manifest offer what the jobs beside it ask for."""

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vapray.config import Config
from vapray.config.file import load
from vapray.doctor.manifest_files import Manifest, Tree, items, section
from vapray.errors import ConfigError
from vapray.placement import Bundle, Demand, demands_of, places
from vapray.stages import itinerary

__all__ = ["offered", "unmet_demands"]

IN_THE_IMAGE = "/app/"
PLACES = ("run.root=s3://nowhere/run", "data.root=nowhere")
"""Those of the entry point are of the pods, not of this machine."""
UNITS = {"m": 1e-3, "k": 1e3, "Ki": 2**10, "M": 1e6, "Mi": 2**20, "G": 1e9, "Gi": 2**30}


def unmet_demands(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Stages for which no group has a pod large enough, or not enough of them. Config files are looked for above."""
    clusters = {manifest.name: manifest for manifest in manifests if manifest.kind == "RayCluster"}
    for manifest in manifests:
        if manifest.kind != "RayJob" or (job := _job_of(manifest)) is None:
            continue
        if isinstance(job, str):
            yield f"{manifest.where}: {job}"
            continue
        selected = section(manifest.spec, "clusterSelector").get("ray.io/cluster")
        ray = manifest.ray() or (clusters[str(selected)].ray() if selected in clusters else None)
        if ray is None:
            continue
        name, config = job
        stages = {stage.name for stage in itinerary(None)} if name == "pipeline" else {name}
        for demand in demands_of(config):
            if stages.intersection(demand.stages):
                yield from _unmet(manifest.where, demand, _groups(ray.tree))


def _unmet(where: str, demand: Demand, groups: Sequence[tuple[Bundle, int]]) -> Iterator[str]:
    have = sum(most * places(node, demand.bundle) for node, most in groups)
    if have < demand.count:
        asked = ", ".join(f"{name}: {amount:g}" for name, amount in demand.bundle.items())
        yield f"{where}: {demand.why} needs {demand.count} x {{{asked}}}, and all pods of all groups hold {have}"


def _groups(tree: Tree) -> list[tuple[Bundle, int]]:
    """What one pod has, and how many there may be; the head's own first."""
    groups: list[tuple[Bundle, int]] = [(offered(section(tree, "headGroupSpec")), 1)]
    key = "maxReplicas" if tree.get("enableInTreeAutoscaling") else "replicas"
    for group in items(tree, "workerGroupSpecs"):
        most = group.get(key, group.get("replicas", 1))
        groups.append((offered(group), most if isinstance(most, int) else 1))
    return groups


def offered(group: Tree) -> dict[str, float]:
    """What Ray is told that a pod of a group has: ``resources`` and ``rayStartParams`` count before its limits."""
    containers = items(section(group, "template", "spec"), "containers")
    limits = section(containers[0], "resources", "limits") if containers else {}
    gpus = [amount for name, amount in limits.items() if str(name).endswith("gpu")]
    start = section(group, "rayStartParams")
    told = {"CPU": start.get("num-cpus", limits.get("cpu", 0)), "GPU": start.get("num-gpus", gpus[0] if gpus else 0)}
    told |= _of_start_params(str(start.get("resources", "")))
    told |= section(group, "resources")
    return {str(name): _number(amount) for name, amount in told.items()}


def _of_start_params(text: str) -> dict[str, Any]:
    """JSON within quotes of a shell, as KubeRay hands it on."""
    try:
        found = json.loads(text.strip("'\"").replace("\\", ""))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _number(quantity: Any) -> float:
    """Of Kubernetes, such as ``500m``; 0 for what is none."""
    text = str(quantity)
    unit = next((unit for unit in sorted(UNITS, key=len, reverse=True) if text.endswith(unit)), "")
    try:
        return float(text.removesuffix(unit)) * UNITS.get(unit, 1)
    except ValueError:
        return 0.0


def _job_of(manifest: Manifest) -> tuple[str, Config] | str | None:
    """The stage and its config, or why it would end at once; None for an entry point of another kind.

    A config file that is found nowhere above the manifest is left to who has it.
    """
    try:
        words = shlex.split(str(manifest.spec.get("entrypoint", "")))
        module = words[words.index("-m") + 1]
        file = words[words.index("--config") + 1].removeprefix(IN_THE_IMAGE)
    except (ValueError, IndexError):
        return None
    overrides = [word for word in words[words.index(module) + 1 :] if "=" in word and not word.startswith("-")]
    for folder in Path(manifest.file).resolve().parents:
        if (folder / file).is_file():
            try:
                return module.removeprefix("jobs."), load(str(folder / file), [*overrides, *PLACES])
            except ConfigError as error:
                return f"the job would end with: {error}"
    return None
