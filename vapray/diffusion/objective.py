"""Training objective: squared error of the network's output + alpha * L_recon, and a baseline's.

With the defaults the first term is ||eps - eps_theta||^2 (VAP-Diffusion, equation 3).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vapray.diffusion.parameterization import LossSpace, Parameterization
from vapray.diffusion.randomness import TrainingDraws
from vapray.models.alignment import AlignmentTarget
from vapray.models.prediction import Denoiser
from vapray.models.text_tokens import TextShape

__all__ = ["ClassBalancing", "Losses", "denoising_loss"]

COMMITMENT = 0.25
"""gamma of the class-balancing loss, with its authors' value."""


@dataclass(frozen=True)
class ClassBalancing:
    """Class-balancing loss, which penalizes the distance between predictions for different classes.

    Attributes:
        tau: scale of the weight; diffusion step t has weight tau * t.
        other_label_B: int64, a class drawn for each row.

    Source: Qin et al., Class-Balancing Diffusion Models (CVPR 2023), with one drawn class instead of the mean over all.
    """

    tau: float
    other_label_B: Tensor


@dataclass(frozen=True)
class Losses:
    """Losses of a batch: scalars with gradients, float32."""

    total: Tensor
    """Total loss: denoising + alpha * reconstruction + balancing + its weight * alignment."""
    denoising: Tensor
    """Mean squared error of the output, weighted by the noise level; with the defaults that of the noise."""
    reconstruction: Tensor
    """L_recon, before alpha."""
    balancing: Tensor
    """Class-balancing loss with its weight; 0 without it."""
    alignment: Tensor
    """Alignment loss, before its weight; 0 without it."""


def denoising_loss(
    model: Denoiser,
    parameterization: Parameterization,
    clean_BCHW: Tensor,
    label_B: Tensor,
    context_BLD: Tensor,
    context_length_B: Tensor,
    draws: TrainingDraws,
    alpha: float,
    balancing: ClassBalancing | None = None,
    loss: LossSpace = "epsilon",
    align: AlignmentTarget | None = None,
    *,
    text_shape: TextShape | None = None,
) -> Losses:
    """Compute the loss of one batch.

    With ``alpha`` 0 every parameter still gets a (zero) gradient, which DDP requires.

    Args:
        model: network.
        parameterization: noise schedule, and meaning of the network's output.
        clean_BCHW: latents, already flipped.
        label_B: int64, classes.
        context_BLD: padded text tokens.
        context_length_B: int64, number of real text tokens of each row.
        draws: noise, diffusion steps and drops, on any device; ``flip_B`` and ``turn_B`` are for the loader.
        alpha: weight of L_recon.
        balancing: class-balancing loss of the baseline; None: none.
        loss: space of the squared error.
        align: target of the network's alignment head; None: no alignment loss.
        text_shape: facts about lengths and drops; None: the network reads them from its device.

    Returns:
        The losses.
    """
    device = clean_BCHW.device
    noise, step_B, drop_B = (x.to(device, non_blocking=True) for x in (draws.noise, draws.step_B, draws.drop_B))
    asked = [
        parameterization.schedule.add_noise(clean_BCHW, noise, step_B),
        step_B,
        label_B,
        context_BLD,
        context_length_B,
        drop_B,
    ]
    if balancing is not None:  # in one call, because DDP expects one backward pass per forward pass
        other = [*asked[:2], balancing.other_label_B.to(device, non_blocking=True), *asked[3:]]
        asked = [torch.cat(pair) for pair in zip(asked, other, strict=True)]
    prediction = model(*asked, text_shape=text_shape, align=align)
    predicted, others = prediction.output_BCHW.float().tensor_split([len(noise)])
    target = parameterization.target(clean_BCHW, noise, step_B)
    if loss == parameterization.prediction:
        denoising = F.mse_loss(predicted, target)
    else:
        error_B = F.mse_loss(predicted, target, reduction="none").flatten(1).mean(dim=1)
        denoising = (parameterization.loss_factor(loss, step_B) * error_B).mean()
    reconstruction = prediction.reconstruction_B[: len(noise)].mean()
    total = denoising + alpha * reconstruction
    balance = alignment = denoising.new_zeros(())
    if balancing is not None:
        balance = _balance(predicted, others, step_B, drop_B, balancing)
        total = total + balance
    if align is not None and prediction.alignment is not None:
        alignment = prediction.alignment
        total = total + align.weight * alignment
    return Losses(total, denoising, reconstruction, balance, alignment)


def _balance(predicted: Tensor, others: Tensor, step_B: Tensor, drop_B: Tensor, balancing: ClassBalancing) -> Tensor:
    """Compute the balancing loss; rows without a class are left out."""

    def distance(one: Tensor, other: Tensor) -> Tensor:
        return (one - other).square().flatten(1).mean(dim=1)

    distance_B = distance(predicted, others.detach()) + COMMITMENT * distance(predicted.detach(), others)
    return (balancing.tau * step_B * distance_B).masked_fill(drop_B, 0.0).mean()
