"""Muon: momentum whose matrices are orthogonalized, with equal shapes together; AdamW for all other weights.

Source: Jordan et al., "Muon" (2024), with Nesterov momentum, five Newton-Schulz steps and the learning rate times
sqrt(max(1, rows / columns)), as in ``torch.optim.Muon``, which takes one matrix after the other. Each rank
orthogonalizes its share of the matrices and gets the others from their ranks.
"""

from collections import ChainMap, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from vapray.models.precision import has_fast_bfloat16

__all__ = ["Muon", "MuonAdamW", "orthogonalize", "orthogonalize_together"]

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
MOMENTUM = 0.95
EPSILON = 1e-7
# Layers that hold several matrices: the dimension along which they are stacked, and their number.
STACKED = {
    "query_key_value.weight": (0, 3),
    "key_value.weight": (0, 2),
    "gate_value.weight": (0, 2),
    "merge.weight": (1, 2),
}


def orthogonalize(matrices_NRC: Tensor) -> Tensor:
    """Move the singular values of N matrices of one shape near 1 by Newton-Schulz steps; keeps their dtype.

    Products are bfloat16 where the device has units for it, float32 elsewhere.
    """
    turned = matrices_NRC.shape[1] > matrices_NRC.shape[2]
    x = (matrices_NRC.mT if turned else matrices_NRC).float()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=EPSILON)
    if has_fast_bfloat16(x.device):
        x = x.bfloat16()
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if turned else x).to(matrices_NRC.dtype)


def orthogonalize_together(matrices_NRC: Tensor) -> Tensor:
    """Orthogonalize N matrices, the same on all ranks: each takes a share. Without ranks it takes all."""
    count, world = len(matrices_NRC), dist.get_world_size() if dist.is_initialized() else 1
    share = -(-count // world)
    if world == 1:
        return orthogonalize(matrices_NRC)
    padded = F.pad(matrices_NRC, (0, 0, 0, 0, 0, share * world - count))
    own = orthogonalize(padded.unflatten(0, (world, share))[dist.get_rank()])
    every = torch.empty_like(padded)
    dist.all_gather_into_tensor(every, own.contiguous())
    return every[:count]


class Muon(torch.optim.Optimizer):
    """Muon over named matrices; equal on all ranks of DDP, which have the same gradients.

    Args:
        named: name -> matrix; a layer of ``STACKED`` counts as several matrices, a convolution [out, in, h, w] as a
            matrix of out rows.
        lr: learning rate.
        weight_decay: decoupled weight decay.

    Attributes:
        skipped: bool, of the next step: leave weights and momenta as they are; None: no step is skipped.

    Raises:
        ValueError: a vector.
    """

    def __init__(self, named: Mapping[str, nn.Parameter], *, lr: float, weight_decay: float = 0.0) -> None:
        if wrong := [name for name, weight in named.items() if weight.ndim < 2]:
            raise ValueError(f"Muon: expected matrices, got {', '.join(wrong)}")
        super().__init__(named.values(), {"lr": lr, "weight_decay": weight_decay})
        self.skipped: Tensor | None = None
        self._pieces = {
            weight: next((piece for suffix, piece in STACKED.items() if name.endswith(suffix)), (0, 1))
            for name, weight in named.items()
        }

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step; weights without a gradient stay."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            by_shape: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for weight, update in zip(weights, self._updates(weights), strict=True):
                dimension, count = self._pieces[weight]
                for pair in zip(weight.chunk(count, dimension), update.chunk(count, dimension), strict=True):
                    by_shape[tuple(pair[1].flatten(1).shape)].append(pair)
            if group["weight_decay"]:
                kept = 1 - group["lr"] * group["weight_decay"]
                torch._foreach_mul_(weights, kept if self.skipped is None else torch.where(self.skipped, 1.0, kept))
            for (rows, columns), pairs in by_shape.items():
                matrices, updates = zip(*pairs, strict=True)
                rate = group["lr"] * max(1.0, rows / columns) ** 0.5
                directions = orthogonalize_together(torch.stack([update.flatten(1) for update in updates]))
                if self.skipped is not None:
                    directions = directions.masked_fill(self.skipped, 0.0)
                shaped = [direction.view_as(one) for direction, one in zip(directions, updates, strict=True)]
                torch._foreach_add_(list(matrices), shaped, alpha=-rate)

    def _updates(self, weights: list[Tensor]) -> Sequence[Tensor]:
        """Advance the momenta and return Nesterov's gradients; in a skipped step both are the momenta."""
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        for weight in weights:
            if "momentum_buffer" not in self.state[weight]:
                self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        momenta = [self.state[weight]["momentum_buffer"] for weight in weights]
        if self.skipped is not None:
            gradients = [torch.where(self.skipped, *pair) for pair in zip(momenta, gradients, strict=True)]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        return torch._foreach_lerp(gradients, momenta, MOMENTUM)


class MuonAdamW:
    """Muon for some weights and AdamW for the others, with the interface of one optimizer.

    Args:
        muon: Muon.
        adamw: AdamW, of other weights.
    """

    def __init__(self, muon: Muon, adamw: torch.optim.AdamW) -> None:
        self.muon, self.adamw = muon, adamw

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Groups of AdamW, then of Muon."""
        return [*self.adamw.param_groups, *self.muon.param_groups]

    @property
    def state(self) -> Mapping[Tensor, Any]:
        """Moments by weight."""
        return ChainMap(self.adamw.state, self.muon.state)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Remove the gradients."""
        self.adamw.zero_grad(set_to_none)
        self.muon.zero_grad(set_to_none)

    def step(self) -> None:
        """Take one step with each."""
        self.adamw.step()
        self.muon.step()

    def state_dict(self) -> dict[str, Any]:
        """Get the state of both."""
        return {"adamw": self.adamw.state_dict(), "muon": self.muon.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of both; KeyError for the state of another optimizer."""
        self.adamw.load_state_dict(state["adamw"])
        self.muon.load_state_dict(state["muon"])
