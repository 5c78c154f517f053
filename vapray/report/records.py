"""Records that pages show: images and curves."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Curve", "Image"]

Image = NDArray[np.uint8]
"""RGB image, uint8 [H, W, 3]."""


@dataclass(frozen=True)
class Curve:
    """Quantity over training steps; drawn as a smoothed line over the range of the raw values."""

    name: str
    meaning: str
    """Explanation under the chart, in one sentence."""
    steps: Sequence[float]
    values: Sequence[float]
    """Values, as many as ``steps``; non-finite values are not drawn."""
    scale: tuple[float, float] | None = None
    """Minimum range of the axis for a bounded quantity; None: the range of the values."""
