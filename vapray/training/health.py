"""Whether the prototypes do their work: measured beside training, on a share of one batch.

Tight clusters (effective rank near 1, cosine near 1), few prototypes in use, or a reconstruction loss whose gradient
drowns the denoising loss's are how a PCM fails; the images then have a high FID with a low recall.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vapray.diffusion.objective import Losses, denoising_loss
from vapray.diffusion.schedule import Schedule
from vapray.models.health import attention_health, prototype_health
from vapray.models.prototypes import PrototypeCondition
from vapray.models.uvit import UViT
from vapray.training.batches import Batch

__all__ = ["measure_prototypes"]

ROWS_AT_MOST, SHARE_OF_A_BATCH = 16, 4


def measure_prototypes(model: UViT, schedule: Schedule, batch: Batch, alpha: float) -> dict[str, float]:
    """Health of a network's prototypes; changes no weight, gradient or random generator, and calls no other rank.

    Args:
        model: with a PCM, whole and not wrapped.
        schedule: noises the latents.
        batch: a quarter of it is looked at, 16 rows at the most.
        alpha: weight of the reconstruction loss.

    Returns:
        ``effective_rank`` and ``mean_pairwise_cosine`` of the prototypes, ``attention_entropy`` and
        ``prototype_usage`` of the batch's tokens, and ``gradient_ratio``, the norm of alpha L_recon's gradient with
        respect to the prototypes over that of the denoising loss; left out while the latter is 0.
    """
    pcm = model.prototypes
    assert pcm is not None
    with _arguments_of(pcm) as seen:
        losses = _losses(model, schedule, batch, alpha)
    health = prototype_health(pcm.prototypes) | attention_health(pcm, *seen[-1])
    rebuilding, denoising = (_gradient_norm(loss, pcm) for loss in (alpha * losses.reconstruction, losses.noise))
    return health | ({"gradient_ratio": rebuilding / denoising} if denoising else {})


def _losses(model: UViT, schedule: Schedule, batch: Batch, alpha: float) -> Losses:
    count = len(batch.label_B)
    rows = slice(min(ROWS_AT_MOST, -(-count // SHARE_OF_A_BATCH)))
    draws = replace(batch.draws, **{name: value[rows] for name, value in vars(batch.draws).items()})
    clean, label, context, length = (tensor[rows] for tensor in batch.to(next(model.parameters()).device))
    return denoising_loss(model, schedule, clean, label, context, length, draws, alpha)


def _gradient_norm(loss: Tensor, pcm: PrototypeCondition) -> float:
    """By ``autograd.grad``: nothing is accumulated, so no hook of DDP runs."""
    (gradient,) = torch.autograd.grad(loss, pcm.prototypes, retain_graph=True, allow_unused=True)
    return 0.0 if gradient is None else float(gradient.norm())


@contextmanager
def _arguments_of(pcm: PrototypeCondition) -> Iterator[list[Any]]:
    """What the PCM is called with: F_e, the rows' classes, which tokens are real."""
    seen: list[Any] = []
    hook = pcm.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[:3]))
    try:
        yield seen
    finally:
        hook.remove()
