"""Distribution of a training state over ranks: replicated (DDP), or sharded (FSDP2).

Sharded tensors are DTensors, so that clipping, AdamW and the moving average are the same code for both. All ranks must
call all methods but ``waits`` together; gathered results are returned on rank 0 only.
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

__all__ = ["DDPStrategy", "FSDPStrategy", "ParallelStrategy", "full_scalar"]


class ParallelStrategy(Protocol):
    """Interface between a rank and the other ranks."""

    @property
    def network(self) -> nn.Module:
        """Module that a step calls, so that ranks exchange gradients."""

    def no_sync(self) -> AbstractContextManager[None]:
        """Create a context for a backward pass whose gradients are exchanged with a later one's."""

    def full_state_dict(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        """Copy a tree of dicts and lists with every tensor complete and on the CPU; empty on ranks other than 0."""

    def gather_model(self, network: Network) -> Network | None:
        """Copy the model or its average to a plain network; None on ranks other than 0."""

    def find_nonfinite(self, weights: Sequence[Tensor]) -> list[bool]:
        """Return for each weight whether it has non-finite values."""

    def broadcast_flag(self, asked: bool) -> bool:
        """Share the answer of rank 0, if all ranks must act together; otherwise return this rank's."""


class DDPStrategy:
    """Replicated state: every rank has all weights and averaged gradients (DDP), or there is one rank.

    Args:
        model: network with the weights of the last step.
        rank: number of this rank.
        world: number of ranks.
    """

    def __init__(self, model: Network, rank: int = 0, world: int = 1) -> None:
        self.network: nn.Module = DistributedDataParallel(model) if world > 1 else model
        self._first = rank == 0

    def no_sync(self) -> AbstractContextManager[None]:
        """Create a context without gradient exchange."""
        return self.network.no_sync() if isinstance(self.network, DistributedDataParallel) else nullcontext()

    def full_state_dict(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        """Copy this rank's tree, which is complete."""
        return tree_map(_to_cpu, dict(tree)) if self._first else {}

    def gather_model(self, network: Network) -> Network | None:
        """Copy this rank's network."""
        return copy.deepcopy(network) if self._first else None

    def find_nonfinite(self, weights: Sequence[Tensor]) -> list[bool]:
        """Check this rank's weights, which equal those of all ranks."""
        return _not_finite(weights).tolist()

    def broadcast_flag(self, asked: bool) -> bool:
        """Return this rank's answer, since the other ranks have nothing to do."""
        return asked


class FSDPStrategy:
    """Sharded state: every rank has its rows of weights, gradients, moments and average (FSDP2).

    A block's weights are gathered while it runs. A weight is sharded along its first dimension, so a class's prototypes
    are on one rank, which alone can detect that the class is absent. All-gathers and reductions are in float32.

    Args:
        model: network with the weights of the last step; sharded in place.
        ema: network with the moving average; sharded in place.
        device: device of the shards.
    """

    def __init__(self, model: Network, ema: Network, device: torch.device) -> None:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        self._device, self._first = device, dist.get_rank() == 0
        self._mesh = init_device_mesh(device.type, (dist.get_world_size(),))
        self._hollow = copy.deepcopy(ema, {id(weight): _weightless(weight) for weight in ema.parameters()})
        for network in (model, ema):
            for block in network.blocks:
                fully_shard(block, mesh=self._mesh)
            fully_shard(network, mesh=self._mesh)
        self.network: nn.Module = model

    def shard_optimizer_state(self, optimizer: Mapping[str, Any]) -> dict[str, Any]:
        """Extract this rank's shards of an optimizer's ``state_dict``, which all ranks have completely."""

        def cut(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor) or leaf.ndim == 0:
                return leaf
            return distribute_tensor(leaf.to(self._device), self._mesh, [Shard(0)], src_data_rank=None)

        return {**optimizer, "state": tree_map(cut, optimizer["state"])}

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Accumulate complete gradients, 4 bytes per parameter, until they are exchanged."""
        assert isinstance(self.network, FSDPModule)
        self.network.set_requires_gradient_sync(False)
        yield
        self.network.set_requires_gradient_sync(True)

    def full_state_dict(self, tree: Mapping[str, Any]) -> dict[str, Any]:
        """Gather one tensor at a time; other ranks release it again."""
        found: dict[str, Any] = tree_map(self._gathered, dict(tree))
        return found if self._first else {}

    def gather_model(self, network: Network) -> Network | None:
        """Gather the network on this rank's device."""
        weights = self.full_state_dict(network.state_dict())
        if not self._first:
            return None
        whole = copy.deepcopy(self._hollow)
        whole.load_state_dict(weights, assign=True)
        return whole.to(self._device).requires_grad_(next(network.parameters()).requires_grad)

    def find_nonfinite(self, weights: Sequence[Tensor]) -> list[bool]:
        """Check the weights of all ranks."""
        found = _not_finite([weight.to_local() if isinstance(weight, DTensor) else weight for weight in weights]).int()
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return found.bool().tolist()

    def broadcast_flag(self, asked: bool) -> bool:
        """Broadcast rank 0's answer, which takes 0.15 ms between two processes of one machine."""
        told = torch.tensor(asked, device=self._device)
        dist.broadcast(told, 0)
        return bool(told)

    def _gathered(self, leaf: Any) -> Any:
        whole = leaf.full_tensor() if isinstance(leaf, DTensor) else leaf
        return _to_cpu(whole) if self._first else None


def full_scalar(scalar: Tensor) -> float:
    """Reduce a scalar over all ranks if it is sharded; ``bool`` or ``float`` would give this rank's share."""
    return float(scalar.full_tensor() if isinstance(scalar, DTensor) else scalar)


def _not_finite(weights: Sequence[Tensor]) -> Tensor:
    return torch.stack([~weight.isfinite().all() for weight in weights])


def _weightless(weight: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(weight.to("meta"), requires_grad=weight.requires_grad)


def _to_cpu(leaf: Any) -> Any:
    """Copy a tensor to the CPU, contiguous; return other values unchanged."""
    if not isinstance(leaf, Tensor):
        return leaf
    return leaf.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
