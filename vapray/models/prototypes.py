"""PCM, the Prototype Condition Mechanism: every class keeps prototypes of its own encoder features.

    F_e ──LayerNorm──► cross-attention to p_c ──► self-attention ──► Z (zero at first) ──► + F_e
     └──stop-gradient──► rebuilt as a mixture of p_c ──► L_recon

Source: VAP-Diffusion (arXiv 2506.23641), section 2.4. Where the paper and the authors' release differ, or leave a
choice, ``PrototypeOptions`` has it.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vapray.models.injection import AttentionInjection, Injection, InjectionKind, ReleasedInjection
from vapray.models.reconstruction import Reconstruction, ReconstructionTarget, ReleasedReconstruction

__all__ = ["OURS", "Conditioned", "PrototypeCondition", "PrototypeOptions", "PrototypePlace"]

PrototypePlace = Literal["encoder", "middle"]


@dataclass(frozen=True)
class PrototypeOptions:
    """What a PCM can be; the defaults are ours."""

    per_class: int | None = None
    """P; None for twice the number of patches, as released."""
    after: PrototypePlace = "encoder"
    """Whose output is F_e: the last encoder block's (the paper), or the middle block's (released)."""
    injection: InjectionKind = "self_attention"
    """self_attention as in the paper; cross_attention without it; released with an MLP in its place."""
    zero_init: bool = True
    """False: what injects starts like any other weight, as it comes to do in the authors' code."""
    init_std: float = 0.02
    """Of the prototypes; released: 1."""
    target: ReconstructionTarget = "stop_gradient"
    """Of L_recon."""


OURS = PrototypeOptions()


@dataclass(frozen=True)
class Conditioned:
    """Tokens after the injection, and what rebuilding them from prototypes cost."""

    tokens_BLD: Tensor
    """F_e plus the injected prototype condition."""
    reconstruction_B: Tensor | None
    """L_recon of each row, float32; None when it was not asked for."""


class PrototypeCondition(nn.Module):
    """Prototypes of every class and of the null class, injected into tokens and trained to rebuild them.

    With the defaults what injects starts at zero, so an untrained PCM is the identity. Injection and L_recon share the
    prototypes, and no projection.

    Args:
        num_classes: classes without the null class, whose prototypes are row ``num_classes``.
        prototypes_per_class: P.
        width: D, that of the tokens.
        num_heads: of all attentions; divides ``width``.
        mlp_ratio: of the released injection's MLP.
        options: all but ``per_class`` and ``after``, which are the caller's.

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
    ) -> None:
        super().__init__()
        if min(num_classes, prototypes_per_class, num_heads) < 1 or width % num_heads:
            raise ValueError(
                "prototypes: wanted at least one class, prototype and head, and width divisible by heads; "
                f"got {num_classes=}, {prototypes_per_class=}, {num_heads=}, {width=}"
            )
        self.options = options
        self.prototypes = nn.Parameter(torch.empty(num_classes + 1, prototypes_per_class, width))
        self.injection: Injection = (
            ReleasedInjection(width, num_heads, mlp_ratio)
            if options.injection == "released"
            else AttentionInjection(width, num_heads, self_attention=options.injection == "self_attention")
        )
        released = options.target == "released"
        self.reconstruction = (ReleasedReconstruction if released else Reconstruction)(width, num_heads)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Truncated normal of std 0.02 as in the U-ViT; zero for what injects, if asked for."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.prototypes, std=self.options.init_std)
        if self.options.zero_init:
            for gate in self.injection.gates:
                nn.init.zeros_(gate.weight)

    def forward(
        self, tokens_BLD: Tensor, row_B: Tensor, real_BL: Tensor | None, *, reconstruct: bool = True
    ) -> Conditioned:
        """Condition encoder features on the prototypes of each row's class.

        Args:
            tokens_BLD: F_e.
            row_B: int64, each row's class, or ``num_classes`` for the null class.
            real_BL: bool, False for padding; None when there is none.
            reconstruct: whether to work out L_recon.
        """
        mask = None if real_BL is None else real_BL[:, None, None, :]
        injected = self.injection(tokens_BLD, self.prototypes, row_B, mask)
        loss_B = self.reconstruction_loss(tokens_BLD, row_B, real_BL) if reconstruct else None
        return Conditioned(injected, loss_B)

    def reconstruction_loss(self, tokens_BLD: Tensor, row_B: Tensor, real_BL: Tensor | None) -> Tensor:
        """L_recon of each row [B], float32: squared error, mean over width and the row's real tokens.

        Each row is averaged by itself, so that a row's loss does not depend on how long its neighbours are.
        """
        error_BL: Tensor = self.reconstruction(tokens_BLD, self.prototypes, row_B)
        if real_BL is None:
            return error_BL.mean(dim=1)
        return error_BL.masked_fill(~real_BL, 0.0).sum(dim=1) / real_BL.sum(dim=1)
