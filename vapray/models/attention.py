"""Multi-head attention and the pre-LayerNorm transformer block of the U-ViT."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Block", "CrossAttention", "SelfAttention", "attend", "draw_weights", "mlp"]


def attend(query_BLD: Tensor, key_BMD: Tensor, value_BMD: Tensor, num_heads: int, mask: Tensor | None) -> Tensor:
    """Multi-head scaled dot-product attention without projections.

    Args:
        query_BLD: queries.
        key_BMD: keys.
        value_BMD: values.
        num_heads: number of heads; divides D.
        mask: bool, broadcastable to [B, heads, L, M], True for visible keys; None: all keys are visible.

    Returns:
        Attended values [B, L, D].
    """
    batch, _, width = query_BLD.shape
    heads = (batch, -1, num_heads, width // num_heads)
    q, k, v = (x.view(heads).transpose(1, 2) for x in (query_BLD, key_BMD, value_BMD))
    if q.dtype == torch.bfloat16 and q.device.type == "cpu" and torch.is_grad_enabled():
        # The CPU's fused kernel computes bfloat16 gradients without the matrix unit, slower than plain products.
        score = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        if mask is not None:
            score = score.masked_fill(~mask, -torch.inf)
        return (score.softmax(-1).to(v.dtype) @ v).transpose(1, 2).flatten(2)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


def mlp(width: int, ratio: float) -> nn.Sequential:
    """Build two linear layers with a GELU between them; the hidden one is ``ratio`` times as wide."""
    hidden = int(width * ratio)
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


def draw_weights(root: nn.Module) -> None:
    """Draw weights of linear layers and embeddings from a truncated normal of std 0.02; set biases to zero."""
    for module in root.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.trunc_normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


class SelfAttention(nn.Module):
    """Self-attention with one fused projection without bias, as in the U-ViT."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, tokens_BLD: Tensor, mask: Tensor | None) -> Tensor:
        """Map [B, L, D] to [B, L, D]; ``mask`` as in ``attend``."""
        query, key, value = self.query_key_value(tokens_BLD).chunk(3, dim=-1)
        mixed: Tensor = self.out(attend(query, key, value, self.num_heads, mask))
        return mixed


class CrossAttention(nn.Module):
    """Cross-attention to a memory that may differ between rows of the batch."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, tokens_BLD: Tensor, memory_RMD: Tensor, row_B: Tensor) -> Tensor:
        """Attend from row b of the batch to ``memory_RMD[row_B[b]]``; returns [B, L, D]."""
        # Projection and look-up commute, so project on the side with fewer rows.
        if len(memory_RMD) <= len(row_B):
            key_value = self.key_value(memory_RMD)[row_B]
        else:
            key_value = self.key_value(memory_RMD[row_B])
        key, value = key_value.chunk(2, dim=-1)
        mixed: Tensor = self.out(attend(self.query(tokens_BLD), key, value, self.num_heads, None))
        return mixed


class Block(nn.Module):
    """Pre-LayerNorm block of attention and a GELU MLP; an out-block first merges a long skip."""

    def __init__(self, width: int, num_heads: int, mlp_ratio: float, *, long_skip: bool) -> None:
        super().__init__()
        self.merge = nn.Linear(2 * width, width) if long_skip else None
        self.attention_norm = nn.LayerNorm(width)
        self.attention = SelfAttention(width, num_heads)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = mlp(width, mlp_ratio)

    def forward(self, tokens_BLD: Tensor, mask: Tensor | None, skip_BLD: Tensor | None = None) -> Tensor:
        """Map [B, L, D] to [B, L, D]; ``skip_BLD`` is an in-block's output, for out-blocks only."""
        if self.merge is not None:
            assert skip_BLD is not None
            tokens_BLD = self.merge(torch.cat([tokens_BLD, skip_BLD], dim=-1))
        tokens_BLD = tokens_BLD + self.attention(self.attention_norm(tokens_BLD), mask)
        merged: Tensor = tokens_BLD + self.mlp(self.mlp_norm(tokens_BLD))
        return merged
