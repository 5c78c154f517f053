"""PCM, the Prototype Condition Mechanism: every class keeps prototypes of its own encoder features.

    F_e ──LayerNorm──► cross-attention to p_c ──► self-attention ──► Z (zero at first) ──► + F_e
     └──stop-gradient──► rebuilt as a mixture of p_c ──► L_recon

Source: VAP-Diffusion (arXiv 2506.23641), section 2.4. What differs from the paper and from the authors'
release is said where it happens.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vapray.models.attention import CrossAttention, SelfAttention, attend

__all__ = [
    "Conditioned",
    "PrototypeCondition",
    "ReconstructionTarget",
    "attention_health",
    "mix_prototypes",
    "prototype_health",
]

ReconstructionTarget = Literal["stop_gradient", "released"]


@dataclass(frozen=True)
class Conditioned:
    """Tokens after the injection, and what rebuilding them from prototypes cost."""

    tokens_BLD: Tensor
    """F_e plus the injected prototype condition."""
    reconstruction_B: Tensor | None
    """L_recon of each row, float32; None when it was not asked for."""


def mix_prototypes(tokens_BLD: Tensor, prototypes_BPD: Tensor, num_heads: int) -> Tensor:
    """Rebuild every token as a mixture of its class's prototypes.

    Args:
        tokens_BLD: queries, at any scale.
        prototypes_BPD: for each row, the P prototypes of its own class; keys and values alike.
        num_heads: attention heads; divides D.

    Returns:
        [B, L, D]. Each head's slice lies in the convex hull of the prototypes' slices.

    Raises:
        ValueError: D differs between the two, or is not divisible by ``num_heads``.
    """
    wanted, got = tokens_BLD.shape[-1], prototypes_BPD.shape[-1]
    if wanted != got or wanted % num_heads:
        raise ValueError(f"prototype width: wanted {wanted} in {num_heads} equal heads, got {got}")
    return attend(tokens_BLD, prototypes_BPD, prototypes_BPD, num_heads, None)


class PrototypeCondition(nn.Module):
    """Prototypes of every class and of the null class, injected into tokens and trained to rebuild them.

    The injection is ``x + Z(SelfAttn(LN(CrossAttn(LN(x), p_c))))``; Z alone starts at zero, so an untrained
    PCM is the identity. L_recon rebuilds ``LN(stop_gradient(F_e))``, a LayerNorm without parameters, by
    ``mix_prototypes(W(LN(F_e)), p_c)``: keys and values are the prototypes themselves.

    Shared between the two paths: the prototypes, and nothing else. The injection's cross-attention has its
    own query, key, value and output projections; L_recon has its own query projection W and no other.

    Args:
        num_classes: classes without the null class, whose prototypes are row ``num_classes``.
        prototypes_per_class: P.
        width: D, that of the tokens.
        num_heads: of all three attentions; divides ``width``.
        target: ``stop_gradient`` is ours. ``released`` follows the authors' code, for comparison: the target
            is W(LN(F_e)) itself with gradients on both sides, so the loss may collapse without them.

    Raises:
        ValueError: a count below 1, ``width`` not divisible by ``num_heads``, or an unknown ``target``.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        prototypes_per_class: int,
        width: int,
        num_heads: int,
        target: ReconstructionTarget = "stop_gradient",
    ) -> None:
        super().__init__()
        if min(num_classes, prototypes_per_class, num_heads) < 1 or width % num_heads:
            raise ValueError(
                "prototypes: wanted at least one class, prototype and head, and width divisible by heads; "
                f"got {num_classes=}, {prototypes_per_class=}, {num_heads=}, {width=}"
            )
        if target not in get_args(ReconstructionTarget):
            raise ValueError(f"prototype target: wanted one of {get_args(ReconstructionTarget)}, got {target!r}")
        self.num_heads = num_heads
        self.target = target
        self.prototypes = nn.Parameter(torch.empty(num_classes + 1, prototypes_per_class, width))
        self.cross_norm = nn.LayerNorm(width)
        self.cross_attention = CrossAttention(width, num_heads)
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = SelfAttention(width, num_heads)
        self.inject = nn.Linear(width, width)
        self.reconstruction_query = nn.Linear(width, width, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Truncated normal of std 0.02 as in the U-ViT, prototypes too (released: N(0, 1)); Z zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.prototypes, std=0.02)
        nn.init.zeros_(self.inject.weight)

    def forward(
        self, tokens_BLD: Tensor, row_B: Tensor, real_BL: Tensor | None, *, reconstruct: bool = True
    ) -> Conditioned:
        """Condition encoder features on the prototypes of each row's class.

        Args:
            tokens_BLD: F_e, the output of the last encoder block.
            row_B: int64, each row's class, or ``num_classes`` for the null class.
            real_BL: bool, False for padding; None when there is none.
            reconstruct: whether to work out L_recon.
        """
        mask = None if real_BL is None else real_BL[:, None, None, :]
        retrieved = self.cross_attention(self.cross_norm(tokens_BLD), self.prototypes, row_B)
        injected = self.inject(self.self_attention(self.self_norm(retrieved), mask))
        loss_B = self.reconstruction_loss(tokens_BLD, row_B, real_BL) if reconstruct else None
        return Conditioned(tokens_BLD + injected, loss_B)

    def reconstruction_loss(self, tokens_BLD: Tensor, row_B: Tensor, real_BL: Tensor | None) -> Tensor:
        """L_recon of each row [B], float32: squared error, mean over width and the row's real tokens.

        Each row is averaged by itself, so that a row's loss does not depend on how long its neighbours are.
        """
        features = tokens_BLD if self.target == "released" else tokens_BLD.detach()
        # Without the LayerNorm the loss would grow with the residual stream.
        features = F.layer_norm(features, features.shape[-1:])
        query = self.reconstruction_query(features)
        rebuilt = mix_prototypes(query, self.prototypes[row_B], self.num_heads)
        target = query if self.target == "released" else features
        error_BL = F.mse_loss(rebuilt.float(), target.float(), reduction="none").mean(dim=-1)
        if real_BL is None:
            return error_BL.mean(dim=1)
        return error_BL.masked_fill(~real_BL, 0.0).sum(dim=1) / real_BL.sum(dim=1)


@torch.no_grad()
def prototype_health(prototypes: Tensor) -> dict[str, float]:
    """Say whether prototypes spread or cluster; each class by itself, then the mean over classes.

    Args:
        prototypes: [classes + 1, P, D].

    Returns:
        ``effective_rank``, exp of the entropy of the normalised singular values (Roy & Vetterli 2007), from 1
        to min(P, D);
        ``mean_pairwise_cosine`` over the pairs of different prototypes of a class, 0 for P = 1.
    """
    vectors = prototypes.detach().to("cpu", torch.float64)  # most GPUs are slow at float64
    share = torch.linalg.svdvals(vectors)
    share = share / share.sum(dim=-1, keepdim=True).clamp_min(1e-300)
    rank = torch.special.entr(share).sum(dim=-1).exp().mean()
    unit = F.normalize(vectors, dim=-1)
    count = unit.shape[1]
    pairs = unit.sum(dim=1).square().sum(dim=-1) - unit.square().sum(dim=(1, 2))
    cosine = pairs.mean() / max(count * (count - 1), 1)
    return {"effective_rank": float(rank), "mean_pairwise_cosine": float(cosine)}


@torch.no_grad()
def attention_health(
    condition: PrototypeCondition, tokens_BLD: Tensor, row_B: Tensor, real_BL: Tensor | None
) -> dict[str, float]:
    """Say how the tokens of a batch spread their attention over prototypes, where these rebuild them.

    Args:
        condition: the PCM.
        tokens_BLD: F_e, what the PCM was given.
        row_B: each row's class.
        real_BL: False for padding; None when there is none.

    Returns:
        ``attention_entropy``, of one token in one head, over that of an even spread: near 0 a token takes a single
        prototype, at 1 it takes all alike;
        ``prototype_usage``, the perplexity of a class's attention, averaged over its tokens and heads, over P:
        the codebook perplexity of vector quantisation as a share. The mean over the classes of the batch.
    """
    tokens = tokens_BLD.float()
    with torch.autocast(tokens.device.type, enabled=False):
        query = condition.reconstruction_query(F.layer_norm(tokens, tokens.shape[-1:]))
    prototypes = condition.prototypes[row_B]
    query, keys = (x.unflatten(-1, (condition.num_heads, -1)).transpose(1, 2) for x in (query, prototypes))
    weight_BHLP = (query @ keys.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(dim=-1)
    real = tokens.new_ones(tokens.shape[:2]) if real_BL is None else real_BL.float()
    even, heads = math.log(max(2, keys.shape[2])), weight_BHLP.shape[1]
    entropy = (torch.special.entr(weight_BHLP).sum(dim=-1) * real[:, None]).sum() / (real.sum() * heads)
    summed = torch.einsum("bhlp,bl->bp", weight_BHLP, real)
    taken = summed.new_zeros(len(condition.prototypes), keys.shape[2]).index_add_(0, row_B, summed)
    taken = taken[taken.sum(dim=1) > 0]
    taken = taken / taken.sum(dim=1, keepdim=True)
    perplexity = torch.special.entr(taken).sum(dim=1).exp().mean()
    return {"attention_entropy": float(entropy) / even, "prototype_usage": float(perplexity) / keys.shape[2]}
