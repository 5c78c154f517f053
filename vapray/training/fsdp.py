"""Sharded training state (FSDP2).

Sharded tensors are DTensors, so that clipping, AdamW and the moving average are the same code as for replicated ranks.
The module is imported only for sharded training, since ``torch.distributed.fsdp`` takes 0.6 s.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.utils._pytree import tree_map

from vapray.diffusion.host_copies import Readback, to_device
from vapray.training.network import Network
from vapray.training.parallelism import nonfinite_flags, to_cpu

__all__ = ["FSDPStrategy"]


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
        self._told: Readback | None = None
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
        local = [weight.to_local() if isinstance(weight, DTensor) else weight for weight in weights]
        found = nonfinite_flags(local).int()
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return found.bool().tolist()

    def broadcast_flag(self, asked: bool) -> bool:
        """Broadcast rank 0's answer, and return that of the call before, so that no rank waits for its device."""
        told = to_device(asked, torch.bool, self._device)
        dist.broadcast(told, 0)
        before, self._told = self._told, Readback(told)
        if before is None or not before.value():
            return False
        self._told = None  # given before the others acted on the answer
        return True

    def _gathered(self, leaf: Any) -> Any:
        whole = leaf.full_tensor() if isinstance(leaf, DTensor) else leaf
        return to_cpu(whole) if self._first else None


def _weightless(weight: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(weight.to("meta"), requires_grad=weight.requires_grad)
