"""How a training state lies over ranks: all of it on each (DDP), or a share on each (FSDP2).

What is shared out is DTensors, so that clipping, AdamW and the moving average are the same lines for both. All methods
but ``waits`` are called by all ranks together; what is whole again is so on rank 0 alone.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils._pytree import tree_map

from vapray.training.network import Network

__all__ = ["Replicas", "Sharding", "Shards", "total"]


class Sharding(Protocol):
    """Between a rank and the others."""

    @property
    def network(self) -> nn.Module:
        """What a step calls, so that ranks exchange gradients."""

    def waits(self) -> AbstractContextManager[None]:
        """Around a backward pass whose gradients are exchanged with a later one's."""

    def copied(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        """A tree of dicts and lists with every tensor whole and on the CPU; empty on other ranks."""

    def whole(self, network: Network) -> Network | None:
        """A copy of the model or its average as a plain network; None on other ranks."""

    def broken(self, weights: Sequence[Tensor]) -> list[bool]:
        """Which of them are not finite."""

    def agreed(self, asked: bool) -> bool:
        """What rank 0 was asked, where all ranks have to act on it; else what this one was."""


class Replicas:
    """Every rank has all, and means of gradients (DDP); or there is one rank.

    Args:
        model: of the last step.
        rank: this one.
        world: number of ranks.
    """

    def __init__(self, model: Network, rank: int = 0, world: int = 1) -> None:
        self.network: nn.Module = DistributedDataParallel(model) if world > 1 else model
        self._first = rank == 0

    def waits(self) -> AbstractContextManager[None]:
        """Without exchanging gradients."""
        return self.network.no_sync() if isinstance(self.network, DistributedDataParallel) else nullcontext()

    def copied(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        """Of this rank's own, which is whole."""
        return tree_map(_to_cpu, dict(tree)) if self._first else {}

    def whole(self, network: Network) -> Network | None:
        """Of this rank's own."""
        return copy.deepcopy(network) if self._first else None

    def broken(self, weights: Sequence[Tensor]) -> list[bool]:
        """The same on all ranks, since they have the same weights."""
        return _not_finite(weights).tolist()

    def agreed(self, asked: bool) -> bool:
        """Ranks other than the first have nothing to do."""
        return asked


class Shards:
    """Every rank has its rows of weights, gradients, moments and average, and borrows a block's while it runs (FSDP2).

    A weight is cut along its first dimension, so a class's prototypes lie on one rank, which alone can tell whether the
    class is absent. Numbers are those of the state: all-gathers and reductions in float32.

    Args:
        model: of the last step; cut in place.
        averaged: its average; cut in place.
        device: where the shares lie.
    """

    def __init__(self, model: Network, averaged: Network, device: torch.device) -> None:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        self._device, self._first = device, dist.get_rank() == 0
        self._mesh = init_device_mesh(device.type, (dist.get_world_size(),))
        self._hollow = copy.deepcopy(averaged, {id(weight): _weightless(weight) for weight in averaged.parameters()})
        for network in (model, averaged):
            for block in network.blocks:
                fully_shard(block, mesh=self._mesh)
            fully_shard(network, mesh=self._mesh)
        self.network: nn.Module = model

    def cut(self, optimiser: Mapping[str, Any]) -> dict[str, Any]:
        """This rank's share of an optimiser's ``state_dict``, which all ranks have whole."""

        def cut(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor) or leaf.ndim == 0:
                return leaf
            return distribute_tensor(leaf.to(self._device), self._mesh, [Shard(0)], src_data_rank=None)

        return {**optimiser, "state": tree_map(cut, optimiser["state"])}

    @contextmanager
    def waits(self) -> Iterator[None]:
        """Gradients add up whole until they are exchanged, 4 bytes a parameter."""
        assert isinstance(self.network, FSDPModule)
        self.network.set_requires_gradient_sync(False)
        yield
        self.network.set_requires_gradient_sync(True)

    def copied(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        """Gathered one tensor at a time; other ranks let it go again."""
        found: dict[str, Any] = tree_map(self._gathered, dict(tree))
        return found if self._first else {}

    def whole(self, network: Network) -> Network | None:
        """On this rank's device."""
        weights = self.copied(network.state_dict())
        if not self._first:
            return None
        whole = copy.deepcopy(self._hollow)
        whole.load_state_dict(weights, assign=True)
        return whole.to(self._device).requires_grad_(next(network.parameters()).requires_grad)

    def broken(self, weights: Sequence[Tensor]) -> list[bool]:
        """On any rank."""
        found = _not_finite([weight.to_local() if isinstance(weight, DTensor) else weight for weight in weights]).int()
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return found.bool().tolist()

    def agreed(self, asked: bool) -> bool:
        """A broadcast: 0.15 ms between two processes of one machine."""
        told = torch.tensor(asked, device=self._device)
        dist.broadcast(told, 0)
        return bool(told)

    def _gathered(self, leaf: Any) -> Any:
        whole = leaf.full_tensor() if isinstance(leaf, DTensor) else leaf
        return _to_cpu(whole) if self._first else None


def total(scalar: Tensor) -> float:
    """Over all ranks, where shares of it lie on them; a plain ``bool`` or ``float`` would be this rank's share."""
    return float(scalar.full_tensor() if isinstance(scalar, DTensor) else scalar)


def _not_finite(weights: Sequence[Tensor]) -> Tensor:
    return torch.stack([~weight.isfinite().all() for weight in weights])


def _weightless(weight: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(weight.to("meta"), requires_grad=weight.requires_grad)


def _to_cpu(leaf: Any) -> Any:
    """A tensor as a contiguous copy on the CPU."""
    if not isinstance(leaf, Tensor):
        return leaf
    return leaf.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
