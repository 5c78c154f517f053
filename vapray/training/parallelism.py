"""Distribution of a training state over ranks: the interface, and replicated ranks (DDP).

All ranks must
call all methods but ``waits`` together; gathered results are returned on rank 0 only.
"""

import copy
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils._pytree import tree_map

from vapray.training.network import Network

__all__ = ["DDPStrategy", "ParallelStrategy", "full_scalar", "nonfinite_flags", "to_cpu"]


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
        return tree_map(to_cpu, dict(tree)) if self._first else {}

    def gather_model(self, network: Network) -> Network | None:
        """Copy this rank's network."""
        return copy.deepcopy(network) if self._first else None

    def find_nonfinite(self, weights: Sequence[Tensor]) -> list[bool]:
        """Check this rank's weights, which equal those of all ranks."""
        return nonfinite_flags(weights).tolist()

    def broadcast_flag(self, asked: bool) -> bool:
        """Return this rank's answer, since the other ranks have nothing to do."""
        return asked


def full_scalar(scalar: Tensor) -> Tensor:
    """Reduce a scalar over all ranks if it is sharded; ``bool`` or ``float`` would give this rank's share."""
    return scalar.full_tensor() if hasattr(scalar, "full_tensor") else scalar


def nonfinite_flags(weights: Sequence[Tensor]) -> Tensor:
    """Flag for each weight whether it has non-finite values; a bool tensor on the device of the weights."""
    return torch.stack([~weight.isfinite().all() for weight in weights])


def to_cpu(leaf: Any) -> Any:
    """Copy a tensor to the CPU, contiguous; return other values unchanged."""
    if not isinstance(leaf, Tensor):
        return leaf
    return leaf.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
