"""Text tokens of the U-ViT: projected contexts, and the null text of rows without a caption."""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from vapray.models.layers import Linear

__all__ = ["NullText", "TextShape", "TextTokens"]

NullText = Literal["learned", "empty"]


@dataclass(frozen=True)
class TextShape:
    """Facts about the texts of a batch that a network needs on the CPU, where a GPU's tensors would have to be read."""

    longest: int
    """Most tokens of a row."""
    shortest: int | None
    """Fewest tokens of a row whose text is not dropped; None if all are dropped."""
    dropped: bool
    """True if the text of a row is dropped."""

    @classmethod
    def of(cls, context_length_B: Tensor | NDArray[np.int64], drop_B: Tensor | NDArray[np.int64]) -> Self:
        """Read the facts from numbers of tokens and drops (bool, or 0 and 1); waits for a GPU's tensors."""
        lengths, drops = context_length_B.tolist(), drop_B.tolist()
        kept = [length for length, drop in zip(lengths, drops, strict=True) if not drop]
        return cls(max(lengths), min(kept, default=None), any(drops))

    def is_padded(self, length: int, null_length: int) -> bool:
        """Check whether a row has fewer than ``length`` tokens, if the null text has ``null_length``."""
        lengths = [self.shortest, null_length if self.dropped else None]
        return any(own is not None and own < length for own in lengths)


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
        self.project = Linear(context_width, width)
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

    def forward(
        self,
        context_BLD: Tensor,
        context_length_B: Tensor,
        drop_B: Tensor,
        shape: TextShape,
        dtype: torch.dtype,
        *,
        always_masked: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Compute text tokens without positions [B, L', D], and the mask of the real ones (None: all are real).

        Args:
            context_BLD: text tokens; padding may contain any value.
            context_length_B: int64, number of real tokens of each row.
            drop_B: bool, rows of the null text.
            shape: facts about both.
            dtype: dtype of the result.
            always_masked: return the mask even if all are real.

        Raises:
            ValueError: a context of another width, too many tokens, or fewer tokens than ``context_length_B``.
        """
        self._check(context_BLD, shape)
        context_BLD, length_B = self._with_null_rows(context_BLD, context_length_B, drop_B, shape)
        place_L = torch.arange(context_BLD.shape[1], device=context_BLD.device)
        real_BL = place_L < length_B[:, None]
        # Padding may contain any value, even NaN, which attention would spread through 0 * NaN.
        text = self.project(context_BLD.masked_fill(~real_BL[:, :, None], 0.0).to(dtype))
        if self.null is not None:
            # torch.where instead of indexing gives the null token its (zero) gradient even without a dropped row.
            text = torch.where(drop_B[:, None, None], self.null.to(text.dtype), text)
        return text, real_BL if always_masked or shape.is_padded(text.shape[1], self._null_length) else None

    def _with_null_rows(
        self, context_BLD: Tensor, context_length_B: Tensor, drop_B: Tensor, shape: TextShape
    ) -> tuple[Tensor, Tensor]:
        """Extend contexts and lengths for the null text of dropped rows; insert the ``empty`` null text."""
        if self.null is not None:
            room = int(context_BLD.shape[1] == 0)
            return F.pad(context_BLD, (0, 0, 0, room)), context_length_B.masked_fill(drop_B, 1)
        if not shape.dropped:
            return context_BLD, context_length_B
        padded = F.pad(context_BLD, (0, 0, 0, self.max_context - context_BLD.shape[1]))
        filled = torch.where(drop_B[:, None, None], self.empty_context.to(padded.dtype), padded)
        return filled, context_length_B.masked_fill(drop_B, self.max_context)

    @property
    def _null_length(self) -> int:
        """Number of tokens of the null text."""
        return 1 if self.null is not None else self.max_context

    def _check(self, context_BLD: Tensor, shape: TextShape) -> None:
        length, width = context_BLD.shape[1:]
        if width != self.context_width:
            raise ValueError(f"context width: expected {self.context_width}, got {width}")
        if length > self.max_context:
            raise ValueError(f"context length: expected at most {self.max_context}, got {length}")
        if shape.longest > length:
            raise ValueError(
                f"context length: expected at most the {length} tokens given, got a row of {shape.longest}"
            )
