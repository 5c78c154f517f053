"""What work asks of one node, and how many times the nodes of a cluster could hold it. Knows nothing of Ray.

A demand is refused when no node could ever hold its bundle, however empty, or when all of them together could not hold
it as often as it is wanted: work is never spread over two nodes, and neither is what they have added up.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from vapray.config import Config, Pools

__all__ = ["Bundle", "Demand", "advice_on", "demands_of", "places", "shortfall", "train_demand"]

Bundle = Mapping[str, float]
"""Ray's name of a resource -> how much of it, on one node: ``CPU``, ``GPU``, and roles such as ``caption``."""
MADE_BY_RAY = ("node:", "accelerator_type:", "memory", "object_store_memory")
SETTINGS = {"CPU": "CPUs", "GPU": "GPUs"}
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Demand:
    """What has to be there before something can start.

    Attributes:
        why: who asks, as messages begin.
        bundle: what each place has to have.
        count: places that are needed at once.
        stages: names of the stages that ask.
    """

    why: str
    bundle: Bundle
    count: int = 1
    stages: tuple[str, ...] = ()


def demands_of(config: Config) -> Iterator[Demand]:
    """What each stage asks for; a pool starts with the actors that find a place, training with all or the fewest."""
    for name in Pools.model_fields:
        if name == "autoencoder" and config.autoencoder.kind == "pixels":
            continue
        stages = {"caption": ("caption", "examine")}.get(name, (name,))
        yield Demand(f"an actor of {name}", getattr(config.pools, name).bundle, stages=stages)
    yield train_demand(config)


def train_demand(config: Config) -> Demand:
    """All workers, or the fewest that an elastic run goes on with."""
    train = config.train
    key, least = ("min_workers", train.min_workers) if train.min_workers else ("workers", train.workers)
    return Demand(f"train.{key} {least}", train.bundle, least, ("train",))


def places(node: Bundle, bundle: Bundle) -> int:
    """How many times an empty node holds a bundle."""
    held = (_held(name, node.get(name, 0), amount) for name, amount in bundle.items() if amount > 0)
    return min(held, default=10**9)


def _held(name: str, have: float, amount: float) -> int:
    """A share of a GPU lies on one GPU."""
    if name == "GPU" and amount < 1:
        return math.floor(have + TOLERANCE) * math.floor(1 / amount + TOLERANCE)
    return math.floor(have / amount + TOLERANCE)


def shortfall(demand: Demand, nodes: Mapping[str, Bundle]) -> str | None:
    """Why the demand can never be met.

    Args:
        demand: what is asked for.
        nodes: what each node has when nothing runs on it, by a name that a person knows it by.

    Returns:
        What is missing and where, for a message; None where it can be met.
    """
    have = sum(places(node, demand.bundle) for node in nodes.values())
    if have >= demand.count:
        return None
    for name, amount in demand.bundle.items():
        total = sum(node.get(name, 0) for node in nodes.values())
        if amount * demand.count > total:
            return f"{demand.why} needs {_amounts({name: amount * demand.count})} and the cluster has {total:g}"
    if have or demand.count > 1:
        wanted = f"{demand.count} places with {_amounts(demand.bundle)} each"
        return f"{demand.why} needs {wanted} and the cluster has {have}, for no place lies on two nodes"
    nearest = max(nodes, key=lambda name: _nearness(nodes[name], demand.bundle))
    has = _amounts({name: nodes[nearest].get(name, 0) for name in demand.bundle})
    return f"{demand.why} needs {_amounts(demand.bundle)} on one node, and the largest, {nearest}, has {has}"


def advice_on(demand: Demand, nodes: Mapping[str, Bundle]) -> str:
    """What to do where nodes have too little of what is asked for."""
    short = next((name for name in demand.bundle if not any(node.get(name, 0) for node in nodes.values())), None)
    if short == "GPU":
        return "Add nodes with GPUs, or set num_gpus=0 of its pool (train.use_gpu=false) where a CPU will do."
    if short not in (None, "CPU"):
        roles = ", ".join(_roles_of(nodes.values())) or "none"
        return f"Start nodes with --resources='{{\"{short}\": 1}}', or ask for what nodes have: {roles}."
    return "Ask for less, raise cluster.num_cpus of an embedded Ray, or add nodes, larger ones where one is too small."


def _roles_of(nodes: Iterable[Bundle]) -> list[str]:
    """Names of resources that somebody gave to the nodes, beside what Ray finds itself."""
    return sorted({name for node in nodes for name in node if not name.startswith(MADE_BY_RAY)} - {*SETTINGS})


def _nearness(node: Bundle, bundle: Bundle) -> tuple[float, float]:
    shares = [node.get(name, 0) / amount for name, amount in bundle.items() if amount > 0]
    return min(shares), sum(min(share, 1) for share in shares)


def _amounts(bundle: Bundle) -> str:
    parts = [f"{amount:g} {SETTINGS.get(name, name)}" for name, amount in bundle.items()]
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
