"""Untrained small ``AutoencoderKL``, initialized as a nearly linear, information-preserving map.

With diffusers' own initial weights every convolution shrinks the image relative to its biases, and the first detail
appears after thousands of images. Orthogonal convolutions with zero residual branches (Zhang et al. 2019, "Fixup")
learn faster: on held-out 32-pixel phantoms 25.4 dB after 2,000 images, against 23.4 dB after 4,000 with diffusers'
weights and eight normalization groups (one run each).
"""

from typing import Any

import torch
from torch import nn

__all__ = ["build_autoencoder"]

# One group, because narrow groups subtract levels that carry colour. Four groups measured no difference.
GROUPS = 1
# diffusers starts near 0, which is noise as strong as the latents and costs the first hundreds of steps.
FIRST_LOG_VARIANCE = -6.0


def build_autoencoder(channels: int, factor: int, width: int, side: int, seed: int) -> Any:
    """Build an untrained diffusers ``AutoencoderKL`` of one residual block per level, without attention.

    Args:
        channels: number of channels C of the latent.
        factor: image side / latent side; a power of two.
        width: number of channels of the finest level; each deeper level has twice as many, up to four times.
        side: image side, in pixels; recorded in the config.
        seed: seed of the weights. The process's own random state does not change.
    """
    from diffusers import AutoencoderKL

    levels = factor.bit_length()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: Any = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=tuple(width * min(4, 2**level) for level in range(levels)),
            layers_per_block=1,
            latent_channels=channels,
            norm_num_groups=GROUPS,
            sample_size=side,
            # LatentSpace has shift and scale per channel, so diffusers' own factor is neutral.
            scaling_factor=1.0,
            force_upcast=False,
            mid_block_add_attention=False,
        )
        _start_linear(network)
    nn.init.constant_(network.quant_conv.bias[channels:], FIRST_LOG_VARIANCE)
    return network


def _start_linear(network: nn.Module) -> None:
    for name, module in network.named_modules():
        if not isinstance(module, nn.Conv2d):
            continue
        nn.init.orthogonal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
        if name.endswith("conv2"):
            nn.init.zeros_(module.weight)
