"""AdamW, alone or beside Muon, with this model's parameter groups; learning rate; moving average of weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vapray.training.muon import Muon, MuonAdamW

if TYPE_CHECKING:
    from vapray.config import Train

__all__ = [
    "Optimizer",
    "average_weights",
    "ema_decay",
    "make_optimizer",
    "only_present_rows",
    "schedule_factor",
    "set_learning_rate",
    "take_finite_step",
]

Optimizer = torch.optim.AdamW | MuonAdamW
EXEMPT_FROM_DECAY = ("position", "text.null", "label_embedding.weight")
BLOCKS = ("in_blocks.", "mid_block.", "out_blocks.", "prototypes.", "matched_block.")
"""Parts of the U-ViT whose matrices Muon takes."""


def make_optimizer(model: nn.Module, settings: "Train") -> Optimizer:
    """Build AdamW with three groups: decayed, exempt from decay (vectors, embeddings), and prototypes.

    With ``train.optimizer`` muon the blocks' matrices are Muon's.
    """
    decayed, exempt, prototypes = [], [], []
    matrices: dict[str, nn.Parameter] = {}
    for name, weight in model.named_parameters():
        if settings.optimizer == "muon" and weight.ndim == 2 and name.startswith(BLOCKS):
            matrices[name] = weight
        elif name.endswith("prototypes.prototypes"):
            prototypes.append(weight)
        elif weight.ndim < 2 or name in EXEMPT_FROM_DECAY:
            exempt.append(weight)
        else:
            decayed.append(weight)
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}]
    rates = ((exempt, 0.0), (prototypes, settings.weight_decay * settings.decay_prototypes))
    groups += [{"params": group, "weight_decay": rate} for group, rate in rates if group]
    adamw = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)
    if settings.optimizer == "adamw":
        return adamw
    return MuonAdamW(Muon(matrices, lr=settings.muon_learning_rate, weight_decay=settings.muon_weight_decay), adamw)


def schedule_factor(step: int, settings: "Train") -> float:
    """Compute the share of the peak learning rate at optimizer step ``step`` (from 0).

    After the linear warm-up it is constant (``constant``), falls linearly to zero (``linear``), or does so over the
    last part only (``cooldown``).
    """
    warmup = (step + 1) / max(1, settings.warmup_steps)
    left, falling = settings.steps - step, settings.steps - settings.warmup_steps
    if settings.lr_schedule == "constant":
        return min(1.0, warmup)
    if settings.lr_schedule == "cooldown":
        falling = min(falling, round(settings.steps * settings.cooldown_share))
    return min(1.0, warmup, left / max(1, falling))


def set_learning_rate(optimizer: Optimizer, step: int, settings: "Train") -> None:
    """Set the learning rates of optimizer step ``step`` (from 0)."""
    factor = schedule_factor(step, settings)
    adamw, muon = (optimizer, None) if isinstance(optimizer, torch.optim.AdamW) else (optimizer.adamw, optimizer.muon)
    for group in adamw.param_groups:
        group["lr"] = settings.learning_rate * factor
    for group in muon.param_groups if muon is not None else ():
        group["lr"] = settings.muon_learning_rate * factor


def take_finite_step(optimizer: Optimizer, norm: Tensor) -> None:
    """Take a step if the gradients' norm is finite; its device decides, so that the CPU need not wait.

    Otherwise weights and moments stay as they are. Gradients are changed.
    """
    adamw = optimizer if isinstance(optimizer, torch.optim.AdamW) else optimizer.adamw
    skipped = ~(norm < torch.inf)
    # The fused AdamW reads this attribute, which torch's GradScaler sets, too.
    adamw.found_inf = skipped.float()  # type: ignore[attr-defined]
    if isinstance(optimizer, MuonAdamW):
        optimizer.muon.skipped = skipped
    optimizer.step()


@contextmanager
def only_present_rows(prototypes: nn.Parameter | None, optimizer: Optimizer) -> Iterator[None]:
    """Restrict an optimizer step to prototypes of classes in the batch.

    Adam's momentum would otherwise move the others by old gradients. A class is absent if its gradient is all zero.
    """
    if prototypes is None or prototypes.grad is None:
        yield
        return
    absent = (prototypes.grad == 0).all(dim=2, keepdim=True).all(dim=1, keepdim=True)
    changed = _row_tensors(prototypes, optimizer)
    kept = torch.stack(changed)
    yield
    for tensor, before in zip(changed, kept.unbind(), strict=True):
        torch.where(absent, before, tensor, out=tensor)


def _row_tensors(prototypes: nn.Parameter, optimizer: Optimizer) -> list[Tensor]:
    state = optimizer.state.get(prototypes, {})
    return [prototypes.data, *(value for key, value in state.items() if key in ("exp_avg", "exp_avg_sq"))]


def ema_decay(step: int, highest: float) -> float:
    """Compute the decay after ``step`` steps, which is lower at the start: min(highest, (1 + k) / (10 + k))."""
    return min(highest, (1 + step) / (10 + step))


@torch.no_grad()
def average_weights(averaged: nn.Module, model: nn.Module, decay: float) -> None:
    """Update averaged <- decay * averaged + (1 - decay) * model, weight by weight."""
    torch._foreach_lerp_(list(averaged.parameters()), list(model.parameters()), 1 - decay)
