"""Replacement of a PCM by a block with as many parameters, to separate prototypes from model size."""

from torch import Tensor, nn

from vapray.models.attention import SelfAttention, draw_weights
from vapray.models.condition_size import hidden_width
from vapray.models.layers import LayerNorm, Linear
from vapray.models.prototypes import PrototypePlace

__all__ = ["MatchedBlock"]


class MatchedBlock(nn.Module):
    """Block ``x + Z(MLP(LN(SelfAttn(LN(x)))))`` with Z initialized to zero, as in the PCM.

    Args:
        width: token width D.
        num_heads: number of heads of the attention.
        parameters: target number of parameters, which determines the width of the MLP.
        after: position in the U-ViT, as for a PCM.
    """

    def __init__(self, width: int, num_heads: int, *, parameters: int, after: PrototypePlace) -> None:
        super().__init__()
        self.after = after
        hidden = hidden_width(width, parameters)
        self.attention_norm = LayerNorm(width)
        self.attention = SelfAttention(width, num_heads)
        self.mlp_norm = LayerNorm(width)
        self.mlp = nn.Sequential(Linear(width, hidden), nn.GELU(), Linear(hidden, width))
        self.inject = Linear(width, width)
        draw_weights(self)
        nn.init.zeros_(self.inject.weight)

    def forward(self, tokens_BLD: Tensor, bias: Tensor | None) -> Tensor:
        """Map [B, L, D] to [B, L, D]; ``bias`` as in ``attend``."""
        mixed = self.attention(self.attention_norm(tokens_BLD), bias)
        changed: Tensor = tokens_BLD + self.inject(self.mlp(self.mlp_norm(mixed)))
        return changed
