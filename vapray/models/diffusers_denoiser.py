"""Class-conditional baselines of the paper's table 1: DiT and the latent-diffusion U-Net, from diffusers."""

from math import gcd
from typing import Any, cast

import torch
from torch import Tensor, nn

from vapray.models.alignment import AlignmentTarget
from vapray.models.network_config import NetworkSizes
from vapray.models.prediction import Prediction
from vapray.models.text_tokens import TextShape

__all__ = ["DiffusersDenoiser", "build_dit", "build_unet"]

UNET_LEVELS = 3
"""Number of resolutions of the U-Net; the latent's side is halved between them."""


class DiffusersDenoiser(nn.Module):
    """Wrapper of a class-conditional network of diffusers; it ignores captions.

    Args:
        network: takes (noisy [B, C, H, W], steps [B], ``class_labels`` [B]); label ``num_classes`` is the null class.
        num_classes: number of classes without the null class.
    """

    prototypes: None = None
    context_width: int = 0
    max_context: int = 0

    def __init__(self, network: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.network, self.num_classes = network, num_classes

    @property
    def blocks(self) -> list[nn.Module]:
        """Blocks whose parameters no other module reads; DiT's first block is excluded, since its end reads it."""
        network: Any = self.network
        if hasattr(network, "transformer_blocks"):
            return [*network.transformer_blocks[1:]]
        return [*network.down_blocks, network.mid_block, *network.up_blocks]

    def recompute_activations(self) -> None:
        """Recompute activations in the backward pass; see ``UViT.recompute_activations``."""
        self.network.enable_gradient_checkpointing()  # type: ignore[operator]

    def forward(
        self,
        noisy_BCHW: Tensor,
        step_B: Tensor,
        label_B: Tensor,
        context_BLD: Tensor,
        context_length_B: Tensor,
        drop_B: Tensor | None = None,
        *,
        text_shape: TextShape | None = None,
        reconstruct: bool = True,
        align: AlignmentTarget | None = None,
    ) -> Prediction:
        """Predict the noise in each latent; shapes as in ``UViT.forward``."""
        row_B = label_B if drop_B is None else label_B.masked_fill(drop_B, self.num_classes)
        noise = self.network(noisy_BCHW, step_B, class_labels=row_B).sample.float()
        return Prediction(noise, noise.new_zeros(len(noise), dtype=torch.float32))


def build_dit(sizes: NetworkSizes, patch_size: int, *, seed: int) -> DiffusersDenoiser:
    """Build a DiT with adaLN-Zero blocks (Peebles and Xie, ICCV 2023) with weights that depend on ``seed`` only."""
    from diffusers import DiTTransformer2DModel
    from diffusers.models.embeddings import LabelEmbedding

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = cast(
            nn.Module,
            DiTTransformer2DModel(
                num_attention_heads=sizes.num_heads,
                attention_head_dim=sizes.width // sizes.num_heads,
                in_channels=sizes.latent_channels,
                num_layers=sizes.depth,
                sample_size=sizes.latent_side,
                patch_size=patch_size,
                num_embeds_ada_norm=sizes.num_classes,
            ),
        )
    for module in network.modules():
        if isinstance(module, LabelEmbedding):
            module.dropout_prob = 0.0  # its table already has the null row; the training draws decide the dropped rows
    return DiffusersDenoiser(network, sizes.num_classes)


def build_unet(sizes: NetworkSizes, *, seed: int) -> DiffusersDenoiser:
    """Build latent diffusion's U-Net (Rombach et al., CVPR 2022): three resolutions, attention in the lower two.

    Args:
        sizes: sizes; the side is divisible by 4, and the lower resolutions have 2 and 4 times ``width`` channels.
        seed: seed of the weights.
    """
    from diffusers import UNet2DModel

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = UNet2DModel(
            sample_size=sizes.latent_side,
            in_channels=sizes.latent_channels,
            out_channels=sizes.latent_channels,
            block_out_channels=tuple(sizes.width * 2**level for level in range(UNET_LEVELS)),
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
            layers_per_block=sizes.depth,
            attention_head_dim=2 * sizes.width // sizes.num_heads,
            norm_num_groups=gcd(32, sizes.width),
            num_class_embeds=sizes.num_classes + 1,
        )
    return DiffusersDenoiser(cast(nn.Module, network), sizes.num_classes)
