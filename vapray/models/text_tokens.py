"""A caption's context as tokens of the U-ViT, and what stands there for a row without a caption."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["NullText", "TextTokens"]

NullText = Literal["learned", "empty"]


class TextTokens(nn.Module):
    """Projects contexts; a dropped row gets the null text.

    Args:
        context_width: of the text encoder's tokens.
        width: D.
        max_context: tokens of the longest context.
        null: ``learned`` is one learned token; ``empty``, as released, is what the text encoder makes of the empty
            text, padded to ``max_context``: buffer ``empty_context`` has to be filled with it.
    """

    empty_context: Tensor

    def __init__(self, context_width: int, width: int, max_context: int, null: NullText) -> None:
        super().__init__()
        self.context_width, self.max_context = context_width, max_context
        self.project = nn.Linear(context_width, width)
        self.null = nn.Parameter(torch.empty(width)) if null == "learned" else None
        if null == "empty":
            self.register_buffer("empty_context", torch.zeros(max_context, context_width))

    def fill_empty_context(self, empty_LD: Tensor) -> None:
        """Take the text encoder's padded empty text, for ``null`` empty.

        Raises:
            ValueError: its shape is not [``max_context``, ``context_width``].
        """
        wanted = (self.max_context, self.context_width)
        if empty_LD.shape != wanted:
            raise ValueError(f"empty text: wanted {wanted} tokens and values, got {tuple(empty_LD.shape)}")
        self.empty_context.copy_(empty_LD)

    def forward(self, context_BLD: Tensor, context_length_B: Tensor, drop_B: Tensor) -> tuple[Tensor, Tensor | None]:
        """Text tokens without positions [B, L', D], and which of them are real (None: all).

        Raises:
            ValueError: a context that is too wide, too long, or shorter than it claims.
        """
        self._check(context_BLD, context_length_B)
        context_BLD, length_B = self._with_null_rows(context_BLD, context_length_B, drop_B)
        place_L = torch.arange(context_BLD.shape[1], device=context_BLD.device)
        real_BL = place_L < length_B[:, None]
        # Padding may hold anything, even NaN, which attention would spread through 0 * NaN.
        text = self.project(context_BLD.masked_fill(~real_BL[:, :, None], 0.0).to(self.project.weight.dtype))
        if self.null is not None:
            # Selected, not indexed: without a dropped row the null token still gets its (zero) gradient.
            text = torch.where(drop_B[:, None, None], self.null.to(text.dtype), text)
        return text, None if bool(real_BL.all()) else real_BL

    def _with_null_rows(self, context_BLD: Tensor, context_length_B: Tensor, drop_B: Tensor) -> tuple[Tensor, Tensor]:
        """Contexts and lengths with room for the null text where a row is dropped, and an ``empty`` one in it."""
        if self.null is not None:
            room = int(context_BLD.shape[1] == 0)
            return F.pad(context_BLD, (0, 0, 0, room)), context_length_B.masked_fill(drop_B, 1)
        if not bool(drop_B.any()):
            return context_BLD, context_length_B
        padded = F.pad(context_BLD, (0, 0, 0, self.max_context - context_BLD.shape[1]))
        filled = torch.where(drop_B[:, None, None], self.empty_context.to(padded.dtype), padded)
        return filled, context_length_B.masked_fill(drop_B, self.max_context)

    def _check(self, context_BLD: Tensor, context_length_B: Tensor) -> None:
        length, width = context_BLD.shape[1:]
        if width != self.context_width:
            raise ValueError(f"context width: wanted {self.context_width}, got {width}")
        if length > self.max_context:
            raise ValueError(f"context length: wanted at most {self.max_context}, got {length}")
        longest = int(context_length_B.max())
        if longest > length:
            raise ValueError(f"context length: wanted at most the {length} tokens given, got a row of {longest}")
