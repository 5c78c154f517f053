"""U-ViT: a transformer over [time | label | text | patches] with long skips, and optionally a PCM.

Source: Bao et al., "All are Worth Words" (CVPR 2023), conditioned as in VAP-Diffusion (arXiv 2506.23641).
"""

import copy
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from vapray.models.alignment import AlignmentHead, AlignmentTarget
from vapray.models.attention import attention_bias, draw_weights
from vapray.models.layers import Linear, weights_in
from vapray.models.matched_block import MatchedBlock
from vapray.models.network_config import UViTConfig
from vapray.models.parts import build_block, build_prototype_condition
from vapray.models.precision import products_dtype, without_autocast
from vapray.models.prediction import Prediction
from vapray.models.rope import axial_rotation
from vapray.models.text_tokens import TextShape, TextTokens
from vapray.models.tokens import patchify, sinusoid, unpatchify

__all__ = ["Prediction", "UViT", "build_uvit", "without_prototypes"]


class UViT(nn.Module):
    """U-ViT over a square latent.

    Parameters at the released configuration (latent 4x32x32, patch 2, width 512, depth 16, 8 heads, 7
    classes, context 768 x 256): 58.4M without PCM, the 58M of U-ViT-S/2 (Deep) in its paper; 63.2M with
    ours. The release counts 65.0M, which leaves 6.5M for its PCM; ours has 4.7M.

    The U-ViT's own weights are the same with a PCM, a matched block, or neither.

    Args:
        config: architecture.
    """

    def __init__(self, config: UViTConfig) -> None:
        super().__init__()
        width, patch_values = config.width, config.latent_channels * config.patch_size**2
        self.patch_size, self.latent_channels, self.width = config.patch_size, config.latent_channels, width
        self.num_classes, self.context_width = config.num_classes, config.context_width or 0
        self.max_context = config.max_context if self.context_width else 0
        self._recompute = self._compiled = False
        self.rotated_width = width // config.num_heads if config.rope else 0
        self.label_tokens = config.label_tokens if config.label_token else 0
        self.label_embedding = (
            nn.Embedding(config.num_classes + 1, self.label_tokens * width) if self.label_tokens else None
        )
        self.time_mlp = (
            nn.Sequential(Linear(width, width), nn.SiLU(), Linear(width, width)) if config.time_mlp else None
        )
        self.text: TextTokens | None = None
        if self.context_width:
            self.text = TextTokens(self.context_width, width, config.max_context, config.null_text)
        self.patch_in = Linear(patch_values, width)
        self.lead = 1 + self.label_tokens
        self.position = nn.Parameter(torch.empty(self.lead + self.max_context + config.patches, width))
        half = range(config.depth // 2)
        self.in_blocks = nn.ModuleList(build_block(config, long_skip=False) for _ in half)
        self.mid_block = build_block(config, long_skip=False)
        self.out_blocks = nn.ModuleList(build_block(config, long_skip=True) for _ in half)
        self.norm = nn.LayerNorm(width)
        self.patch_out = nn.Linear(width, patch_values)
        self.smooth = nn.Conv2d(config.latent_channels, config.latent_channels, 3, padding=1)
        self.reset_parameters()
        # Attached after our own init, which resets every nn.Linear, so that their zeros stay zero.
        self.prototypes = build_prototype_condition(config)
        self.alignment: AlignmentHead | None = None
        self.matched_block: MatchedBlock | None = None
        if config.matched_block and self.prototypes is not None:
            parameters = sum(weight.numel() for weight in self.prototypes.parameters())
            self.matched_block = MatchedBlock(
                width, config.num_heads, parameters=parameters, after=self.prototypes.options.after
            )
            self.prototypes = None

    def reset_parameters(self) -> None:
        """Draw weights, embeddings and positions from a truncated normal of std 0.02; set biases to zero."""
        draw_weights(self)
        if self.text is not None and self.text.null is not None:
            nn.init.trunc_normal_(self.text.null, std=0.02)
        nn.init.trunc_normal_(self.position, std=0.02)

    @property
    def blocks(self) -> list[nn.Module]:
        """Transformer blocks, in execution order."""
        return [*self.in_blocks, self.mid_block, *self.out_blocks]

    def recompute_activations(self) -> None:
        """Recompute the blocks' activations in the backward pass instead of keeping them."""
        self._recompute = True

    def compile_blocks(self) -> None:
        """Compile each kind of block once, for contexts of any length; weights and their names do not change."""
        self._compiled = True
        for block in self.blocks:
            block.compile(dynamic=True)

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
        """Predict the noise in each latent, or what the parameterization says instead.

        Args:
            noisy_BCHW: noisy latents.
            step_B: int64, diffusion steps 1..N.
            label_B: int64, classes.
            context_BLD: text tokens; padding values have no effect. L may be 0.
            context_length_B: int64, number of real text tokens of each row, 0..L.
            drop_B: bool, True for the null condition: the null label and the null text.
            text_shape: facts about the two before; None: they are read, and a GPU is waited for.
            reconstruct: whether to compute L_recon.
            align: target of the alignment head; None: no alignment loss.

        Returns:
            Predicted noise [B, C, H, W], L_recon and the alignment loss.

        Raises:
            ValueError: a context of another width, too many tokens, or fewer tokens than ``context_length_B``.
        """
        if drop_B is None:
            drop_B = torch.zeros_like(label_B, dtype=torch.bool)
        if text_shape is None:
            text_shape = TextShape.of(context_length_B, drop_B)
        row_B = label_B.masked_fill(drop_B, self.num_classes)
        dtype = products_dtype(noisy_BCHW)
        with without_autocast(noisy_BCHW.device), self._weights_in(dtype):
            text_BLD, real_text_BL = noisy_BCHW.new_zeros(len(noisy_BCHW), 0, self.width, dtype=dtype), None
            if self.text is not None:
                text_BLD, real_text_BL = self.text(
                    context_BLD, context_length_B, drop_B, text_shape, dtype, always_masked=self._compiled
                )
            tokens, patch_count = self._tokens(noisy_BCHW, step_B, row_B, text_BLD)
            real_BL = None
            if real_text_BL is not None:
                real_BL = F.pad(real_text_BL, (self.lead, patch_count), value=True)
            rotation_2LF = self._rotation(tokens, patch_count)
            tokens, reconstruction_B, shaped = self._blocks(tokens, row_B, real_BL, rotation_2LF, reconstruct)
            # The last layers are float32: bfloat16's 8 bits would limit the accuracy of every sampling step.
            patches = self.patch_out(self.norm(tokens[:, -patch_count:].to(self.norm.weight.dtype)))
            noise = self.smooth(unpatchify(patches, self.patch_size, self.latent_channels))
        aligned = None
        if self.alignment is not None and align is not None:
            aligned = self.alignment(shaped[:, -patch_count:], align)
        return Prediction(noise, reconstruction_B, aligned)

    def _weights_in(self, dtype: torch.dtype) -> AbstractContextManager[None]:
        """Create a context in which layers of a low precision read copies of their weights, made by a few calls.

        Compiled blocks fuse the copies. Blocks that run again in the backward pass, and FSDP's, copy their own.
        """
        sharded = hasattr(self.mid_block.attention_norm.weight, "full_tensor")
        if dtype == self.position.dtype or self._compiled or self._recompute or sharded:
            return nullcontext()
        conditions = [part for part in (self.prototypes, self.matched_block) if part is not None]
        first = [part for part in (self.patch_in, self.time_mlp, self.text, *self.in_blocks) if part is not None]
        return weights_in(dtype, (first, [self.mid_block, *conditions], [*self.out_blocks]))

    def _tokens(self, noisy_BCHW: Tensor, step_B: Tensor, row_B: Tensor, text_BLD: Tensor) -> tuple[Tensor, int]:
        """Build [time | label | text | patches] with positions; also return the number of patches."""
        dtype = text_BLD.dtype
        patches = self.patch_in(patchify(noisy_BCHW, self.patch_size).to(dtype))
        lead = [sinusoid(step_B, self.width)[:, None].to(self.position.dtype)]
        if self.time_mlp is not None:
            lead = [self.time_mlp(lead[0].to(dtype))]
        if self.label_embedding is not None:
            lead.append(self.label_embedding(row_B).unflatten(1, (self.label_tokens, self.width)))
        tokens = torch.cat([*lead, text_BLD, patches], dim=1)
        first_patch = self.lead + self.max_context
        position = torch.cat([self.position[: self.lead + text_BLD.shape[1]], self.position[first_patch:]])
        return (tokens + position).to(dtype), patches.shape[1]

    def _rotation(self, tokens: Tensor, patch_count: int) -> Tensor | None:
        """Compute the rotation of queries and keys at every call; a buffer would be exchanged by DDP."""
        if not self.rotated_width:
            return None
        return axial_rotation(patch_count, tokens.shape[1] - patch_count, self.rotated_width, tokens.device)

    def _blocks(
        self, tokens: Tensor, row_B: Tensor, real_BL: Tensor | None, rotation_2LF: Tensor | None, reconstruct: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run all blocks; return the tokens, each row's L_recon (0 without a PCM), and the tokens to align."""
        bias = attention_bias(real_BL, tokens.dtype)
        reconstruction_B: Tensor | None = None
        skips = []
        for block in self.in_blocks:
            tokens = self._pass(block, tokens, bias, rotation_2LF)
            skips.append(tokens)
        shaped = skips[self.alignment.after - 1] if self.alignment is not None else tokens
        for place in ("encoder", "middle"):
            if place == "middle":
                tokens = self._pass(self.mid_block, tokens, bias, rotation_2LF)
            if self.prototypes is not None and self.prototypes.options.after == place:
                conditioned = self.prototypes(tokens, row_B, real_BL, bias=bias, reconstruct=reconstruct)
                tokens = conditioned.tokens_BLD
                reconstruction_B = conditioned.reconstruction_B
            if self.matched_block is not None and self.matched_block.after == place:
                tokens = self.matched_block(tokens, bias)
        for block in self.out_blocks:
            tokens = self._pass(block, tokens, bias, rotation_2LF, skips.pop())
        if reconstruction_B is None:
            reconstruction_B = tokens.new_zeros(len(tokens), dtype=torch.float32)
        return tokens, reconstruction_B, shaped

    def _pass(self, block: nn.Module, *inputs: Tensor | None) -> Tensor:
        if self._recompute and torch.is_grad_enabled():
            recomputed: Tensor = checkpoint(block, *inputs, use_reentrant=False)
            return recomputed
        tokens: Tensor = block(*inputs)
        return tokens


def without_prototypes(network: UViT) -> UViT:
    """Copy the network with the PCM bypassed; the given network does not change.

    The result differs from training without a PCM, because the other weights were trained with it.
    """
    bypassed = copy.copy(network)
    bypassed._modules = {**network._modules, "prototypes": None}  # a shallow copy shares the dictionary
    return bypassed


def build_uvit(config: UViTConfig, *, seed: int) -> UViT:
    """Build a U-ViT on the CPU with weights that depend on ``seed`` only; torch's generator does not change."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return UViT(config)
