"""Prototype Condition Mechanism (PCM): every class has prototypes of its encoder features.

    F_e ──LayerNorm──► cross-attention to p_c ──► self-attention ──► Z (zero at first) ──► + F_e
     └──stop-gradient──► rebuilt as a mixture of p_c ──► L_recon

Source: VAP-Diffusion (arXiv 2506.23641), section 2.4. ``PrototypeOptions`` has the choices that the paper leaves open
and the differences between paper and release.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vapray.models.attention import attention_bias, draw_weights
from vapray.models.injection import AttentionInjection, Injection, InjectionKind, ReleasedInjection
from vapray.models.reconstruction import Reconstruction, ReconstructionTarget, ReleasedReconstruction

__all__ = ["OURS", "Conditioned", "PrototypeCondition", "PrototypeOptions", "PrototypePlace"]

PrototypePlace = Literal["encoder", "middle"]


@dataclass(frozen=True)
class PrototypeOptions:
    """Options of a PCM; the defaults are ours."""

    per_class: int | None = None
    """Number P of prototypes per class; None: twice the number of patches, as released."""
    after: PrototypePlace = "encoder"
    """Layer whose output is F_e: the last encoder block (the paper), or the middle block (released)."""
    injection: InjectionKind = "self_attention"
    """Injection. self_attention: the paper; cross_attention: without self-attention; released: an MLP in its place."""
    zero_init: bool = True
    """Start the injection at zero; False: initialize like any other weight, which is the effect of the authors'
    code."""
    init_std: float = 0.02
    """Standard deviation of the initial prototypes; released: 1."""
    target: ReconstructionTarget = "stop_gradient"
    """Gradient of L_recon."""


OURS = PrototypeOptions()


@dataclass(frozen=True)
class Conditioned:
    """Tokens after the injection, and their reconstruction loss."""

    tokens_BLD: Tensor
    """F_e plus the injected prototype condition."""
    reconstruction_B: Tensor | None
    """L_recon of each row, float32; None if not requested."""


class PrototypeCondition(nn.Module):
    """Prototypes of every class and of the null class, injected into tokens and trained to rebuild them.

    With the defaults the injection starts at zero, so an untrained PCM is the identity. Injection and L_recon share the
    prototypes, but no projection.

    Args:
        num_classes: number of classes without the null class, whose prototypes are row ``num_classes``.
        prototypes_per_class: number P of prototypes per class.
        width: token width D.
        num_heads: number of heads of all attentions; divides ``width``.
        mlp_ratio: hidden width of the released injection's MLP divided by ``width``.
        options: options; the caller evaluates ``per_class`` and ``after``.
        qk_norm: normalize queries and keys of the injection's attentions, but for the released one.

    Raises:
        ValueError: a count below 1, or ``width`` not divisible by ``num_heads``.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        prototypes_per_class: int,
        width: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        options: PrototypeOptions = PrototypeOptions(),
        qk_norm: bool = False,
    ) -> None:
        super().__init__()
        if min(num_classes, prototypes_per_class, num_heads) < 1 or width % num_heads:
            raise ValueError(
                "prototypes: expected at least one class, prototype and head, and width divisible by heads; "
                f"got {num_classes=}, {prototypes_per_class=}, {num_heads=}, {width=}"
            )
        self.options = options
        self.prototypes = nn.Parameter(torch.empty(num_classes + 1, prototypes_per_class, width))
        self.injection: Injection = (
            ReleasedInjection(width, num_heads, mlp_ratio)
            if options.injection == "released"
            else AttentionInjection(
                width, num_heads, self_attention=options.injection == "self_attention", qk_norm=qk_norm
            )
        )
        released = options.target == "released"
        self.reconstruction = (ReleasedReconstruction if released else Reconstruction)(width, num_heads)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights from a truncated normal of std 0.02 as in the U-ViT; with ``zero_init`` set gates to 0."""
        draw_weights(self)
        nn.init.normal_(self.prototypes, std=self.options.init_std)
        if self.options.zero_init:
            for gate in self.injection.gates:
                nn.init.zeros_(gate.weight)

    def forward(
        self,
        tokens_BLD: Tensor,
        row_B: Tensor,
        real_BL: Tensor | None,
        *,
        bias: Tensor | None = None,
        reconstruct: bool = True,
    ) -> Conditioned:
        """Condition encoder features on the prototypes of each row's class.

        Args:
            tokens_BLD: encoder features F_e.
            row_B: int64, class of each row, or ``num_classes`` for the null class.
            real_BL: bool, False for padding; None: no padding.
            bias: ``attention_bias`` of ``real_BL``, if the caller has it.
            reconstruct: whether to compute L_recon.

        Returns:
            Tokens [B, L, D] and L_recon.
        """
        bias = attention_bias(real_BL, tokens_BLD.dtype) if bias is None else bias
        injected = self.injection(tokens_BLD, self.prototypes.to(tokens_BLD.dtype), row_B, bias)
        loss_B = self.reconstruction_loss(tokens_BLD, row_B, real_BL) if reconstruct else None
        return Conditioned(injected, loss_B)

    def reconstruction_loss(self, tokens_BLD: Tensor, row_B: Tensor, real_BL: Tensor | None) -> Tensor:
        """Compute L_recon of each row [B], float32: squared error, mean over width and the row's real tokens.

        Each row is averaged separately, so that a row's loss does not depend on the length of other rows.
        """
        error_BL: Tensor = self.reconstruction(tokens_BLD, self.prototypes.to(tokens_BLD.dtype), row_B)
        if real_BL is None:
            return error_BL.mean(dim=1)
        return error_BL.masked_fill(~real_BL, 0.0).sum(dim=1) / real_BL.sum(dim=1)
