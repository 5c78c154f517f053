"""The untrained small ``AutoencoderKL``, started as a nearly linear, information-preserving map.

With diffusers' own initial weights every convolution shrinks the picture against its biases, and thousands of
pictures pass before the first detail appears. Orthogonal convolutions whose residual branches add nothing yet
(Zhang et al. 2019, "Fixup") start where those end: on held-out 32-pixel phantoms 25.4 dB after 2,000 pictures
against 23.4 dB after 4,000 with diffusers' weights and eight normalisation groups (one run each).
"""

from typing import Any

import torch
from torch import nn

__all__ = ["build_autoencoder"]

# One group: narrow ones subtract levels that carry colour. Measured against four groups: no difference.
GROUPS = 1
# diffusers starts near 0: noise as strong as the latents, which the first hundreds of steps would tame.
FIRST_LOG_VARIANCE = -6.0


def build_autoencoder(channels: int, factor: int, width: int, side: int, seed: int) -> Any:
    """An untrained diffusers ``AutoencoderKL`` of one residual block a level, without attention.

    Args:
        channels: C of the latent.
        factor: picture side / latent side; a power of two.
        width: channels of the finest level; each deeper one has twice as many, up to four times.
        side: picture side in pixels; recorded in the config.
        seed: of the weights. The process's own random state is left as it was.
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
            # Shift and scale per channel live in LatentSpace, so diffusers' own factor is neutral.
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
