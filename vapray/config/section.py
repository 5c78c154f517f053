"""Base class of all configuration sections, and its number types."""

import os
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = [
    "ConfigSection",
    "Momentum",
    "NonNegativeInt",
    "PathText",
    "PositiveFloat",
    "PositiveInt",
    "Quantity",
    "UnitInterval",
]

PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
UnitInterval = Annotated[float, Field(ge=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
Quantity = Annotated[float, Field(ge=0.0001)]
"""Quantity of a Ray resource; 0.0001 is Ray's resolution."""
PathText = Annotated[str, AfterValidator(os.path.expanduser)]
"""Path, URI or name of a model. ``~`` at its start is the home folder: a shell does not expand it in ``key=~/path``."""


class ConfigSection(BaseModel):
    """Frozen section. Unknown keys, nan, infinities, and texts or booleans in place of numbers are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
