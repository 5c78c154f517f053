"""Text tokens of the U-ViT: projected contexts, and the null text of rows without a caption."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["NullText", "TextTokens"]

NullText = Literal["learned", "empty"]


class TextTokens(nn.Module):
    """Projection of contexts to text tokens; a dropped row gets the null text.

    Args:
        context_width: width of the text encoder's tokens.
        width: token width D.
        max_context: maximum number of tokens of a context.
        null: ``learned``: one learned token; ``empty``, as released: the text encoder's encoding of the empty text,
            padded to ``max_context``, which the caller must copy into the buffer ``empty_context``.
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
        """Set the text encoder's padded empty text, for ``null`` empty.

        Raises:
            ValueError: its shape is not [``max_context``, ``context_width``].
        """
        wanted = (self.max_context, self.context_width)
        if empty_LD.shape != wanted:
            raise ValueError(f"empty text: expected {wanted} tokens and values, got {tuple(empty_LD.shape)}")
        self.empty_context.copy_(empty_LD)

    def forward(self, context_BLD: Tensor, context_length_B: Tensor, drop_B: Tensor) -> tuple[Tensor, Tensor | None]:
        """Compute text tokens without positions [B, L', D], and the mask of the real ones (None: all are real).

        Raises:
            ValueError: a context of another width, too many tokens, or fewer tokens than ``context_length_B``.
        """
        self._check(context_BLD, context_length_B)
        context_BLD, length_B = self._with_null_rows(context_BLD, context_length_B, drop_B)
        place_L = torch.arange(context_BLD.shape[1], device=context_BLD.device)
        real_BL = place_L < length_B[:, None]
        # Padding may contain any value, even NaN, which attention would spread through 0 * NaN.
        text = self.project(context_BLD.masked_fill(~real_BL[:, :, None], 0.0).to(self.project.weight.dtype))
        if self.null is not None:
            # torch.where instead of indexing gives the null token its (zero) gradient even without a dropped row.
            text = torch.where(drop_B[:, None, None], self.null.to(text.dtype), text)
        return text, None if bool(real_BL.all()) else real_BL

    def _with_null_rows(self, context_BLD: Tensor, context_length_B: Tensor, drop_B: Tensor) -> tuple[Tensor, Tensor]:
        """Extend contexts and lengths for the null text of dropped rows; insert the ``empty`` null text."""
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
            raise ValueError(f"context width: expected {self.context_width}, got {width}")
        if length > self.max_context:
            raise ValueError(f"context length: expected at most {self.max_context}, got {length}")
        longest = int(context_length_B.max())
        if longest > length:
            raise ValueError(f"context length: expected at most the {length} tokens given, got a row of {longest}")
