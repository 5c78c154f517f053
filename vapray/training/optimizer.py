"""AdamW with this model's parameter groups, its learning rate, and the moving average of weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vapray.config import Train

__all__ = ["average_weights", "ema_decay", "learning_rate", "make_optimizer", "only_present_rows"]

EXEMPT_FROM_DECAY = ("position", "text.null", "label_embedding.weight")


def make_optimizer(model: nn.Module, settings: Train) -> torch.optim.AdamW:
    """Build AdamW with three groups: decayed, exempt from decay (vectors, embeddings), and prototypes."""
    decayed, exempt, prototypes = [], [], []
    for name, weight in model.named_parameters():
        if name.endswith("prototypes.prototypes"):
            prototypes.append(weight)
        elif weight.ndim < 2 or name in EXEMPT_FROM_DECAY:
            exempt.append(weight)
        else:
            decayed.append(weight)
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}]
    rates = ((exempt, 0.0), (prototypes, settings.weight_decay * settings.decay_prototypes))
    groups += [{"params": group, "weight_decay": rate} for group, rate in rates if group]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)


def learning_rate(step: int, settings: Train) -> float:
    """Compute the rate of optimizer step ``step`` (from 0): linear warm-up, then constant, or linear to zero."""
    warmup = (step + 1) / max(1, settings.warmup_steps)
    left = 1.0
    if settings.lr_schedule == "linear":
        left = (settings.steps - step) / max(1, settings.steps - settings.warmup_steps)
    return settings.learning_rate * min(1.0, warmup, left)


@contextmanager
def only_present_rows(prototypes: nn.Parameter | None, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Restrict an optimizer step to prototypes of classes in the batch.

    Adam's momentum would otherwise move the others by old gradients. A class is absent if its gradient is all zero.
    """
    if prototypes is None or prototypes.grad is None:
        yield
        return
    absent = (prototypes.grad == 0).all(dim=2, keepdim=True).all(dim=1, keepdim=True)
    kept = [(tensor, tensor.clone()) for tensor in _row_tensors(prototypes, optimizer)]
    yield
    for tensor, before in kept:
        tensor.copy_(torch.where(absent, before, tensor))


def _row_tensors(prototypes: nn.Parameter, optimizer: torch.optim.Optimizer) -> list[Tensor]:
    state = optimizer.state.get(prototypes, {})
    return [prototypes.data, *(value for key, value in state.items() if key in ("exp_avg", "exp_avg_sq"))]


def ema_decay(step: int, highest: float) -> float:
    """Compute the decay after ``step`` steps, which is lower at the start: min(highest, (1 + k) / (10 + k))."""
    return min(highest, (1 + step) / (10 + step))


@torch.no_grad()
def average_weights(averaged: nn.Module, model: nn.Module, decay: float) -> None:
    """Update averaged <- decay * averaged + (1 - decay) * model, weight by weight."""
    torch._foreach_lerp_(list(averaged.parameters()), list(model.parameters()), 1 - decay)
