"""One entry to the measurements: an image and its modality in, attributes out."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vapray.captioning.attributes import Attributes
from vapray.captioning.measured.chest_xray import measure_chest_xray
from vapray.captioning.measured.colonoscopy import measure_colonoscopy
from vapray.captioning.measured.dermoscopy import measure_dermoscopy
from vapray.errors import ConfigError

MEASURES: dict[str, Callable[[NDArray[np.uint8]], Attributes]] = {
    "chest_xray": measure_chest_xray,
    "colonoscopy": measure_colonoscopy,
    "dermoscopy": measure_dermoscopy,
}

UNRELIABLE: dict[str, frozenset[str]] = {
    "chest_xray": frozenset({"opacity_location", "opacity_density", "opacity_size", "heart_width"})
}
"""Right on phantoms, not to be believed of real pictures: tests/benchmarks/NOTES.md has the figures."""


def measure(image: NDArray[np.uint8], modality: str) -> Attributes:
    """Measure the visual attributes of one picture; it sees pixels, never labels or ground truth.

    Args:
        image: uint8 [S, S, 3], the square that the generator sees; gray pictures repeat their channel.
        modality: ``dermoscopy``, ``chest_xray`` or ``colonoscopy``.

    Returns:
        Attributes of the modality's prompt set; those that could not be found are absent.

    Raises:
        ConfigError: no measurements exist for this modality.
        BadImage: not a square uint8 RGB picture.
    """
    if modality not in MEASURES:
        raise ConfigError(
            f"no measured attributes for modality {modality!r}; known: {', '.join(sorted(MEASURES))}. "
            "Use captions of your own (captioner: given) or a language model"
        )
    return MEASURES[modality](image)
