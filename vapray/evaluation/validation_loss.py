"""Denoising loss of held-out images, by class, at fixed noise levels and with fixed noise."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vapray.config import Config
from vapray.diffusion.randomness import draw_sampling_noise
from vapray.models.text_tokens import TextShape
from vapray.training.network import Network, build_parameterization

__all__ = ["losses_by_class", "validation_losses"]

LEVELS = 4
"""Number of noise levels of each image: the middles of equal shares of the diffusion steps."""
IMAGES_OF_A_BATCH = 64


@torch.no_grad()
def validation_losses(
    network: Network, config: Config, clean_BCHW: Tensor, labels: Sequence[int], contexts: Sequence[Tensor]
) -> Tensor:
    """Compute each image's loss, of ``diffusion.loss``, the mean over the noise levels.

    The loss of training images falls while a network learns them by heart; that of held-out images then rises.

    Args:
        network: averaged network; its device is used.
        config: configuration; section ``diffusion`` is read.
        clean_BCHW: normalized latents.
        labels: class of each image.
        contexts: text tokens [L, D] of each image.

    Returns:
        float32 [B], on the CPU.
    """
    parameterization, device = build_parameterization(config), next(network.parameters()).device
    steps = [round(config.diffusion.steps * (2 * level + 1) / (2 * LEVELS)) for level in range(LEVELS)]
    losses = torch.zeros(len(clean_BCHW))
    for begin in range(0, len(clean_BCHW), IMAGES_OF_A_BATCH):
        rows = slice(begin, begin + IMAGES_OF_A_BATCH)
        clean, label = clean_BCHW[rows].to(device), torch.tensor(labels[rows], device=device)
        length = torch.tensor([len(context) for context in contexts[rows]])
        context = torch.nn.utils.rnn.pad_sequence(list(contexts[rows]), batch_first=True).to(device)
        shape = TextShape.of(length, torch.zeros(len(length)))
        for level, step in enumerate(steps):
            seeds = range(LEVELS * begin + level, LEVELS * (begin + len(clean)) + level, LEVELS)
            noise, step_B = draw_sampling_noise(seeds, clean.shape[1:]).to(device), torch.full_like(label, step)
            noisy = parameterization.schedule.add_noise(clean, noise, step_B)
            predicted = network(
                noisy, step_B, label, context, length.to(device), text_shape=shape, reconstruct=False
            ).output_BCHW
            error_B = (predicted - parameterization.target(clean, noise, step_B)).square().flatten(1).mean(dim=1)
            error_B = error_B * parameterization.loss_factor(config.diffusion.loss, step_B)
            losses[rows] += error_B.cpu() / LEVELS
    return losses


def losses_by_class(losses_B: Tensor, labels: Sequence[int], class_names: Sequence[str]) -> dict[str, float]:
    """Average losses over all images, ``validation_loss``, and over those of each class present."""
    found = {"validation_loss": float(losses_B.mean())}
    for label, name in enumerate(class_names):
        own = torch.tensor([one == label for one in labels])
        if own.any():
            found[f"validation_loss_{name}"] = float(losses_B[own].mean())
    return found
