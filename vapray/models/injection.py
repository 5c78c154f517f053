"""Injection of prototypes into tokens: with self-attention, without it, and as in the authors' code."""

from typing import Literal

from torch import Tensor, nn

from vapray.models.attention import CrossAttention, SelfAttention, mlp
from vapray.models.layers import LayerNorm, Linear

__all__ = ["AttentionInjection", "Injection", "InjectionKind", "ReleasedInjection"]

InjectionKind = Literal["self_attention", "cross_attention", "released"]


class AttentionInjection(nn.Module):
    """Injection ``x + Z(SelfAttn(LN(CrossAttn(LN(x), p_c))))``, or without SelfAttn ``x + Z(CrossAttn(LN(x), p_c))``.

    Args:
        width: token width D.
        num_heads: number of heads of each attention.
        self_attention: include the self-attention.
        qk_norm: normalize queries and keys.
    """

    def __init__(self, width: int, num_heads: int, *, self_attention: bool, qk_norm: bool = False) -> None:
        super().__init__()
        self.cross_norm = LayerNorm(width)
        self.cross_attention = CrossAttention(width, num_heads, qk_norm=qk_norm)
        self.self_norm = LayerNorm(width) if self_attention else None
        self.self_attention = SelfAttention(width, num_heads, qk_norm=qk_norm) if self_attention else None
        self.inject = Linear(width, width)

    @property
    def gates(self) -> list[nn.Linear]:
        """Linear layer Z, which all injected features pass."""
        return [self.inject]

    def forward(self, tokens_BLD: Tensor, prototypes_RPD: Tensor, row_B: Tensor, bias: Tensor | None) -> Tensor:
        """Add features of each row's class prototypes to its tokens, [B, L, D]."""
        retrieved = self.cross_attention(self.cross_norm(tokens_BLD), prototypes_RPD, row_B)
        if self.self_attention is not None and self.self_norm is not None:
            retrieved = self.self_attention(self.self_norm(retrieved), bias)
        injected: Tensor = tokens_BLD + self.inject(retrieved)
        return injected


class ReleasedInjection(nn.Module):
    """Injection of the authors' code: ``x <- x + Z1(CrossAttn(x, p_c))``, then ``x + Z2(MLP(LN(x)))``; no first norm.

    Args:
        width: token width D.
        num_heads: number of heads of the cross-attention.
        mlp_ratio: hidden width of the MLP divided by ``width``.
    """

    def __init__(self, width: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.cross_attention = CrossAttention(width, num_heads)
        self.inject_attention = Linear(width, width, bias=False)
        self.mlp_norm = LayerNorm(width)
        self.mlp = mlp(width, mlp_ratio)
        self.inject_mlp = Linear(width, width, bias=False)

    @property
    def gates(self) -> list[nn.Linear]:
        """Linear layers Z1 and Z2, which all injected features pass."""
        return [self.inject_attention, self.inject_mlp]

    def forward(self, tokens_BLD: Tensor, prototypes_RPD: Tensor, row_B: Tensor, bias: Tensor | None) -> Tensor:
        """Add features of each row's class prototypes to its tokens, [B, L, D]; ``bias`` is not used."""
        tokens_BLD = tokens_BLD + self.inject_attention(self.cross_attention(tokens_BLD, prototypes_RPD, row_B))
        injected: Tensor = tokens_BLD + self.inject_mlp(self.mlp(self.mlp_norm(tokens_BLD)))
        return injected


Injection = AttentionInjection | ReleasedInjection
