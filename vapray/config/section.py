"""What every section of the configuration is, and the numbers it is made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Count", "Momentum", "Natural", "Positive", "Quantity", "Section", "Share"]

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Quantity = Annotated[float, Field(ge=0.0001)]
"""Of a resource of Ray, which counts no finer."""


class Section(BaseModel):
    """Frozen; unknown keys, nan, infinities, and texts or truths in place of numbers are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
