"""Multi-head attention, MLPs and the pre-LayerNorm transformer block of the U-ViT."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vapray.models.condition_size import swiglu_width
from vapray.models.rope import rotate

__all__ = ["Block", "CrossAttention", "HeadNorm", "MlpKind", "SelfAttention", "SwiGLU", "attend", "draw_weights", "mlp"]

MlpKind = Literal["gelu", "swiglu"]
RMS_EPSILON = 1e-6


def attend(
    query_BLD: Tensor,
    key_BMD: Tensor,
    value_BMD: Tensor,
    num_heads: int,
    mask: Tensor | None,
    rotation_2LF: Tensor | None = None,
) -> Tensor:
    """Multi-head scaled dot-product attention without projections.

    Args:
        query_BLD: queries.
        key_BMD: keys.
        value_BMD: values.
        num_heads: number of heads; divides D.
        mask: bool, broadcastable to [B, heads, L, M], True for visible keys; None: all keys are visible.
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
        if mask is not None:
            score = score.masked_fill(~mask, -torch.inf)
        return (score.softmax(-1).to(v.dtype) @ v).transpose(1, 2).flatten(2)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


class SwiGLU(nn.Module):
    """MLP ``W2 (silu(a) * b)`` with ``a, b = W1 x`` (Shazeer, arXiv 2002.05202).

    Args:
        width: token width D.
        hidden: width of a and b.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_value = nn.Linear(width, 2 * hidden)
        self.out = nn.Linear(hidden, width)

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
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


def draw_weights(root: nn.Module) -> None:
    """Draw weights of linear layers and embeddings from a truncated normal of std 0.02; set biases to zero."""
    for module in root.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.trunc_normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


class _RmsNorm(torch.autograd.Function):
    """RMS norm of the last dimension with a gain, in float32.

    Its backward pass takes half the time of ``F.rms_norm``'s on a CPU, where that is no single kernel.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor) -> Tensor:
        full = x.float()
        scale = full.square().mean(-1, keepdim=True).add_(RMS_EPSILON).rsqrt_()
        normed = full * scale
        ctx.save_for_backward(normed, scale, gain)
        return (normed * gain).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        normed, scale, gain = ctx.saved_tensors
        full = gradient.float()
        products = full * normed
        along = (products @ gain)[..., None] / len(gain)
        of_x = (full * gain).addcmul_(normed, along, value=-1).mul_(scale)
        return of_x.to(gradient.dtype), products.flatten(0, -2).sum(0)


class HeadNorm(nn.Module):
    """RMS norm of each head's queries or keys, with one learned gain per value of a head (QK-norm).

    Scores are then bounded, so that large learning rates do not saturate the softmax (Dehghani et al., arXiv
    2302.05442). It computes in float32.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.RMSNorm(width // num_heads, eps=RMS_EPSILON)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """Map [B, L, D] to [B, L, D]."""
        normed: Tensor = _RmsNorm.apply(x_BLD.unflatten(2, (self.num_heads, -1)), self.norm.weight)
        return normed.flatten(2)


def _head_norms(width: int, num_heads: int, qk_norm: bool) -> tuple[nn.Module, nn.Module]:
    return (HeadNorm(width, num_heads), HeadNorm(width, num_heads)) if qk_norm else (nn.Identity(), nn.Identity())


class SelfAttention(nn.Module):
    """Self-attention with one fused projection without bias, as in the U-ViT; optionally with QK-norm."""

    def __init__(self, width: int, num_heads: int, *, qk_norm: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.query_norm, self.key_norm = _head_norms(width, num_heads, qk_norm)

    def forward(self, tokens_BLD: Tensor, mask: Tensor | None, rotation_2LF: Tensor | None = None) -> Tensor:
        """Map [B, L, D] to [B, L, D]; ``mask`` and ``rotation_2LF`` as in ``attend``."""
        query, key, value = self.query_key_value(tokens_BLD).chunk(3, dim=-1)
        query, key = self.query_norm(query), self.key_norm(key)
        mixed: Tensor = self.out(attend(query, key, value, self.num_heads, mask, rotation_2LF))
        return mixed


class CrossAttention(nn.Module):
    """Cross-attention to a memory that may differ between rows of the batch; optionally with QK-norm."""

    def __init__(self, width: int, num_heads: int, *, qk_norm: bool = False) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.query_norm, self.key_norm = _head_norms(width, num_heads, qk_norm)

    def forward(self, tokens_BLD: Tensor, memory_RMD: Tensor, row_B: Tensor) -> Tensor:
        """Attend from row b of the batch to ``memory_RMD[row_B[b]]``; returns [B, L, D]."""
        # Projection and look-up commute, so project on the side with fewer rows.
        if len(memory_RMD) <= len(row_B):
            key_value = self.key_value(memory_RMD)[row_B]
        else:
            key_value = self.key_value(memory_RMD[row_B])
        key, value = key_value.chunk(2, dim=-1)
        query, key = self.query_norm(self.query(tokens_BLD)), self.key_norm(key)
        mixed: Tensor = self.out(attend(query, key, value, self.num_heads, None))
        return mixed


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
        self.merge = nn.Linear(2 * width, width) if long_skip else None
        self.attention_norm = nn.LayerNorm(width)
        self.attention = SelfAttention(width, num_heads, qk_norm=qk_norm)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = mlp(width, mlp_ratio, mlp_kind)

    def forward(
        self,
        tokens_BLD: Tensor,
        mask: Tensor | None,
        rotation_2LF: Tensor | None = None,
        skip_BLD: Tensor | None = None,
    ) -> Tensor:
        """Map [B, L, D] to [B, L, D]; ``skip_BLD`` is an in-block's output, for out-blocks only."""
        if self.merge is not None:
            assert skip_BLD is not None
            tokens_BLD = self.merge(torch.cat([tokens_BLD, skip_BLD], dim=-1))
        tokens_BLD = tokens_BLD + self.attention(self.attention_norm(tokens_BLD), mask, rotation_2LF)
        merged: Tensor = tokens_BLD + self.mlp(self.mlp_norm(tokens_BLD))
        return merged
