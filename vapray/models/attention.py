"""Multi-head attention, MLPs and the pre-LayerNorm transformer block of the U-ViT."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vapray.models.condition_size import swiglu_width
from vapray.models.layers import HeadNorm, LayerNorm, Linear
from vapray.models.rope import rotate

__all__ = [
    "Block",
    "CrossAttention",
    "MlpKind",
    "SelfAttention",
    "SwiGLU",
    "attend",
    "attention_bias",
    "draw_weights",
    "mlp",
]

MlpKind = Literal["gelu", "swiglu"]
BIAS_ALIGNMENT = 8
"""Multiple of values at which rows of a bias begin: fused kernels of GPUs would copy other biases in every layer."""


def attention_bias(real_BL: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Build the bias of scores that hides padding, [B, 1, 1, L]: 0 for real tokens, -inf for padding.

    Args:
        real_BL: bool, False for padding; None: no padding, and no bias.
        dtype: dtype of queries and keys.
    """
    if real_BL is None:
        return None
    rows, length = real_BL.shape
    # Never equal to the length, so that compiled blocks see one form.
    padded = (length // BIAS_ALIGNMENT + 1) * BIAS_ALIGNMENT
    bias = torch.zeros(rows, padded, dtype=dtype, device=real_BL.device)[:, :length]
    return bias.masked_fill_(~real_BL, -torch.inf)[:, None, None, :]


def attend(
    query_BLD: Tensor,
    key_BMD: Tensor,
    value_BMD: Tensor,
    num_heads: int,
    bias: Tensor | None,
    rotation_2LF: Tensor | None = None,
) -> Tensor:
    """Multi-head scaled dot-product attention without projections.

    Args:
        query_BLD: queries.
        key_BMD: keys.
        value_BMD: values.
        num_heads: number of heads; divides D.
        bias: added to the scores, see ``attention_bias``; of the queries' dtype, broadcastable to [B, heads, L, M];
            None: all keys are visible.
        rotation_2LF: rotation of queries and keys, for self-attention only, see ``rope``; None: no rotation.

    Returns:
        Attended values [B, L, D].
    """
    batch, _, width = query_BLD.shape
    heads = (batch, -1, num_heads, width // num_heads)
    q, k, v = (x.view(heads).transpose(1, 2) for x in (query_BLD, key_BMD, value_BMD))
    if rotation_2LF is not None:
        q, k = rotate(q, rotation_2LF), rotate(k, rotation_2LF)
    if q.dtype == torch.bfloat16 and q.device.type == "cpu" and torch.is_grad_enabled():
        # The CPU's fused kernel computes bfloat16 gradients without the matrix unit, slower than plain products.
        score = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        score = score if bias is None else score + bias
        return (score.softmax(-1).to(v.dtype) @ v).transpose(1, 2).flatten(2)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2)


class SwiGLU(nn.Module):
    """MLP ``W2 (silu(a) * b)`` with ``a, b = W1 x`` (Shazeer, arXiv 2002.05202).

    Args:
        width: token width D.
        hidden: width of a and b.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_value = Linear(width, 2 * hidden)
        self.out = Linear(hidden, width)

    def forward(self, tokens_BLD: Tensor) -> Tensor:
        """Map [B, L, D] to [B, L, D]."""
        gate, value = self.gate_value(tokens_BLD).chunk(2, dim=-1)
        mapped: Tensor = self.out(F.silu(gate) * value)
        return mapped


def mlp(width: int, ratio: float, kind: MlpKind = "gelu") -> nn.Module:
    """Build an MLP whose hidden layer is ``ratio`` times as wide; a SwiGLU's has two thirds of that."""
    if kind == "swiglu":
        return SwiGLU(width, swiglu_width(width, ratio))
    hidden = int(width * ratio)
    return nn.Sequential(Linear(width, hidden), nn.GELU(), Linear(hidden, width))


def draw_weights(root: nn.Module) -> None:
    """Draw weights of linear layers and embeddings from a truncated normal of std 0.02; set biases to zero."""
    for module in root.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.trunc_normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


def _head_norms(width: int, num_heads: int, qk_norm: bool) -> tuple[nn.Module, nn.Module]:
    return (HeadNorm(width, num_heads), HeadNorm(width, num_heads)) if qk_norm else (nn.Identity(), nn.Identity())


class SelfAttention(nn.Module):
    """Self-attention with one fused projection without bias, as in the U-ViT; optionally with QK-norm."""

    def __init__(self, width: int, num_heads: int, *, qk_norm: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query_key_value = Linear(width, 3 * width, bias=False)
        self.out = Linear(width, width)
        self.query_norm, self.key_norm = _head_norms(width, num_heads, qk_norm)

    def forward(self, tokens_BLD: Tensor, bias: Tensor | None, rotation_2LF: Tensor | None = None) -> Tensor:
        """Map [B, L, D] to [B, L, D]; ``bias`` and ``rotation_2LF`` as in ``attend``."""
        # Rows of a matrix, because a product of 3 dimensions without a bias makes one more call.
        flat = self.query_key_value(tokens_BLD.flatten(0, 1))
        query, key, value = flat.view(*tokens_BLD.shape[:2], -1).chunk(3, dim=-1)
        query, key = self.query_norm(query), self.key_norm(key)
        mixed: Tensor = self.out(attend(query, key, value, self.num_heads, bias, rotation_2LF))
        return mixed


class CrossAttention(nn.Module):
    """Cross-attention to a memory that may differ between rows of the batch; optionally with QK-norm."""

    def __init__(self, width: int, num_heads: int, *, qk_norm: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = Linear(width, width, bias=False)
        self.key_value = Linear(width, 2 * width, bias=False)
        self.out = Linear(width, width)
        self.query_norm, self.key_norm = _head_norms(width, num_heads, qk_norm)

    def forward(self, tokens_BLD: Tensor, memory_RMD: Tensor, row_B: Tensor) -> Tensor:
        """Attend from row b of the batch to ``memory_RMD[row_B[b]]``; returns [B, L, D]."""
        query, key, value = self._query_key_value(tokens_BLD, memory_RMD, row_B)
        mixed: Tensor = self.out(attend(query, key, value, self.num_heads, None))
        return mixed

    def weights(self, tokens_BLD: Tensor, memory_RMD: Tensor, row_B: Tensor) -> Tensor:
        """Compute the weights of ``forward``'s attention, float32 [B, heads, L, M]; each token's sum to 1."""
        query, key, _ = self._query_key_value(tokens_BLD, memory_RMD, row_B)
        q, k = (x.unflatten(2, (self.num_heads, -1)).transpose(1, 2).float() for x in (query, key))
        return (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(dim=-1)

    def _query_key_value(self, tokens_BLD: Tensor, memory_RMD: Tensor, row_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # Projection and look-up commute, so project on the side with fewer rows.
        if len(memory_RMD) <= len(row_B):
            key_value = self.key_value(memory_RMD)[row_B]
        else:
            key_value = self.key_value(memory_RMD[row_B])
        key, value = key_value.chunk(2, dim=-1)
        return self.query_norm(self.query(tokens_BLD)), self.key_norm(key), value


class Block(nn.Module):
    """Pre-LayerNorm block of attention and an MLP; an out-block first merges a long skip."""

    def __init__(
        self,
        width: int,
        num_heads: int,
        mlp_ratio: float,
        *,
        long_skip: bool,
        qk_norm: bool = False,
        mlp_kind: MlpKind = "gelu",
    ) -> None:
        super().__init__()
        self.merge = Linear(2 * width, width) if long_skip else None
        self.attention_norm = LayerNorm(width)
        self.attention = SelfAttention(width, num_heads, qk_norm=qk_norm)
        self.mlp_norm = LayerNorm(width)
        self.mlp = mlp(width, mlp_ratio, mlp_kind)

    def forward(
        self,
        tokens_BLD: Tensor,
        bias: Tensor | None,
        rotation_2LF: Tensor | None = None,
        skip_BLD: Tensor | None = None,
    ) -> Tensor:
        """Map [B, L, D] to [B, L, D]; ``skip_BLD`` is an in-block's output, for out-blocks only."""
        if self.merge is not None:
            assert skip_BLD is not None
            tokens_BLD = self.merge(torch.cat([tokens_BLD, skip_BLD], dim=-1))
        tokens_BLD = tokens_BLD + self.attention(self.attention_norm(tokens_BLD), bias, rotation_2LF)
        merged: Tensor = tokens_BLD + self.mlp(self.mlp_norm(tokens_BLD))
        return merged
