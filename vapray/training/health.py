"""Health measures of prototypes during training, on a share of one batch.

A failing PCM shows tight clusters (effective rank near 1, cosine near 1), few prototypes in use, or a reconstruction
gradient much larger than the denoising gradient; its images have a high FID with a low recall.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vapray.diffusion.objective import Losses, denoising_loss
from vapray.diffusion.parameterization import LossSpace, Parameterization
from vapray.models.health import attention_health, prototype_health
from vapray.models.prototypes import PrototypeCondition
from vapray.models.uvit import UViT
from vapray.training.batches import Batch

__all__ = ["measure_prototypes"]

ROWS_AT_MOST, SHARE_OF_A_BATCH = 16, 4


def measure_prototypes(
    model: UViT, parameterization: Parameterization, batch: Batch, alpha: float, loss: LossSpace = "epsilon"
) -> dict[str, float]:
    """Measure a network's prototypes without changing weights, gradients or random generators, on one rank.

    Args:
        model: complete network with a PCM, not wrapped.
        parameterization: noise schedule, and meaning of the network's output.
        batch: batch; a quarter of it is used, at most 16 rows.
        alpha: weight of the reconstruction loss.
        loss: space of the squared error.

    Returns:
        ``effective_rank`` and ``mean_pairwise_cosine`` of the prototypes, ``attention_entropy`` and
        ``prototype_usage`` of the batch's tokens, and ``gradient_ratio``, the norm of alpha L_recon's gradient with
        respect to the prototypes divided by that of the denoising loss; left out if the latter is 0.
    """
    pcm = model.prototypes
    assert pcm is not None
    with _arguments_of(pcm) as seen:
        losses = _losses(model, parameterization, batch, alpha, loss)
    health = prototype_health(pcm.prototypes) | attention_health(pcm, *seen[-1])
    rebuilding, denoising = (_gradient_norm(loss, pcm) for loss in (alpha * losses.reconstruction, losses.denoising))
    return health | ({"gradient_ratio": rebuilding / denoising} if denoising else {})


def _losses(model: UViT, parameterization: Parameterization, batch: Batch, alpha: float, loss: LossSpace) -> Losses:
    count = len(batch.label_B)
    rows = slice(min(ROWS_AT_MOST, -(-count // SHARE_OF_A_BATCH)))
    draws = replace(batch.draws, **{name: value[rows] for name, value in vars(batch.draws).items()})
    clean, label, context, length = (tensor[rows] for tensor in batch.to(next(model.parameters()).device))
    return denoising_loss(model, parameterization, clean, label, context, length, draws, alpha, loss=loss)


def _gradient_norm(loss: Tensor, pcm: PrototypeCondition) -> float:
    """Compute the norm by ``autograd.grad``, which accumulates no gradient and so triggers no DDP hook."""
    (gradient,) = torch.autograd.grad(loss, pcm.prototypes, retain_graph=True, allow_unused=True)
    return 0.0 if gradient is None else float(gradient.norm())


@contextmanager
def _arguments_of(pcm: PrototypeCondition) -> Iterator[list[Any]]:
    """Record the arguments of the PCM: F_e, the rows' classes, the mask of real tokens."""
    seen: list[Any] = []
    hook = pcm.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[:3]))
    try:
        yield seen
    finally:
        hook.remove()
