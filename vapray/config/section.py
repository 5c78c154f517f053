"""Base class of all configuration sections, and its number types."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Count", "Momentum", "Natural", "Positive", "Quantity", "Section", "Share"]

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Quantity = Annotated[float, Field(ge=0.0001)]
"""Quantity of a Ray resource; 0.0001 is Ray's resolution."""


class Section(BaseModel):
    """Frozen section. Unknown keys, nan, infinities, and texts or booleans in place of numbers are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
