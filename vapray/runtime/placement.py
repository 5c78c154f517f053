"""Resource demands, and the number of bundles that the nodes of a cluster can hold. Independent of Ray.

A demand is refused if no empty node can hold its bundle, or if all nodes together cannot hold the bundle ``count``
times. A bundle is never split over two nodes, so resources of several nodes are not added up.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from vapray.config import Config, Pools

__all__ = [
    "Bundle",
    "ResourceDemand",
    "bundles_per_node",
    "placement_advice",
    "resource_demands",
    "shortfall",
    "train_demand",
]

Bundle = Mapping[str, float]
"""Amount of each resource on one node, by Ray's name: ``CPU``, ``GPU``, and roles such as ``caption``."""
MADE_BY_RAY = ("node:", "accelerator_type:", "memory", "object_store_memory")
SETTINGS = {"CPU": "CPUs", "GPU": "GPUs"}
TOLERANCE = 1e-9


@dataclass(frozen=True)
class ResourceDemand:
    """Resources that must be available before work can start.

    Attributes:
        why: Name of the work; messages begin with it.
        bundle: Resources of each bundle.
        count: Number of bundles needed at the same time.
        stages: Names of the stages with this demand.
    """

    why: str
    bundle: Bundle
    count: int = 1
    stages: tuple[str, ...] = ()


def resource_demands(config: Config) -> Iterator[ResourceDemand]:
    """Resource demands of all stages: one actor per pool (pools start with the actors that fit), and training."""
    for name in Pools.model_fields:
        if name == "autoencoder" and config.autoencoder.kind == "pixels":
            continue
        stages = {"caption": ("caption", "caption_audit_sample")}.get(name, (name,))
        yield ResourceDemand(f"an actor of {name}", getattr(config.pools, name).bundle, stages=stages)
    yield train_demand(config)


def train_demand(config: Config) -> ResourceDemand:
    """Demand of training: all workers, or the minimum of an elastic run."""
    train = config.train
    key, least = ("min_workers", train.min_workers) if train.min_workers else ("workers", train.workers)
    return ResourceDemand(f"train.{key} {least}", train.bundle, least, ("train",))


def bundles_per_node(node: Bundle, bundle: Bundle) -> int:
    """Number of bundles that an empty node holds."""
    held = (_held(name, node.get(name, 0), amount) for name, amount in bundle.items() if amount > 0)
    return min(held, default=10**9)


def _held(name: str, have: float, amount: float) -> int:
    """Number of shares of ``amount`` that ``have`` holds; a fraction of a GPU is on one GPU."""
    if name == "GPU" and amount < 1:
        return math.floor(have + TOLERANCE) * math.floor(1 / amount + TOLERANCE)
    return math.floor(have / amount + TOLERANCE)


def shortfall(demand: ResourceDemand, nodes: Mapping[str, Bundle]) -> str | None:
    """Explain why the nodes cannot meet a demand.

    Args:
        demand: Resource demand.
        nodes: Total resources of each node, by a readable name.

    Returns:
        The missing resources, as text; None if the nodes can meet the demand.
    """
    have = sum(bundles_per_node(node, demand.bundle) for node in nodes.values())
    if have >= demand.count:
        return None
    for name, amount in demand.bundle.items():
        total = sum(node.get(name, 0) for node in nodes.values())
        if amount * demand.count > total:
            return f"{demand.why} needs {_amounts({name: amount * demand.count})} and the cluster has {total:g}"
    if have or demand.count > 1:
        wanted = f"{demand.count} bundles with {_amounts(demand.bundle)} each"
        return f"{demand.why} needs {wanted} and the cluster has {have}, since no bundle is split over two nodes"
    nearest = max(nodes, key=lambda name: _nearness(nodes[name], demand.bundle))
    has = _amounts({name: nodes[nearest].get(name, 0) for name in demand.bundle})
    return f"{demand.why} needs {_amounts(demand.bundle)} on one node, and the largest, {nearest}, has {has}"


def placement_advice(demand: ResourceDemand, nodes: Mapping[str, Bundle]) -> str:
    """Suggest a fix for a demand that nodes cannot meet."""
    short = next((name for name in demand.bundle if not any(node.get(name, 0) for node in nodes.values())), None)
    if short == "GPU":
        return "Add nodes with GPUs, or set num_gpus=0 for its pool (train.use_gpu=false) to run on CPUs."
    if short not in (None, "CPU"):
        roles = ", ".join(_roles_of(nodes.values())) or "none"
        return f"Start nodes with --resources='{{\"{short}\": 1}}', or request resources that nodes have: {roles}."
    return "Request less, raise cluster.num_cpus of an embedded Ray, or add nodes (larger ones if needed)."


def _roles_of(nodes: Iterable[Bundle]) -> list[str]:
    """Names of custom resources of the nodes, other than those that Ray detects."""
    return sorted({name for node in nodes for name in node if not name.startswith(MADE_BY_RAY)} - {*SETTINGS})


def _nearness(node: Bundle, bundle: Bundle) -> tuple[float, float]:
    shares = [node.get(name, 0) / amount for name, amount in bundle.items() if amount > 0]
    return min(shares), sum(min(share, 1) for share in shares)


def _amounts(bundle: Bundle) -> str:
    parts = [f"{amount:g} {SETTINGS.get(name, name)}" for name, amount in bundle.items()]
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
