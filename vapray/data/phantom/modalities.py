"""Registry of drawn modalities by name."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vapray.data.phantom import chest_xray, colonoscopy, dermoscopy
from vapray.data.phantom.canvas import Attributes, Drawing
from vapray.errors import ConfigError


class DrawAttributes(Protocol):
    """Function that draws the attributes of one lesion or patient."""

    def __call__(self, class_name: str, rng: np.random.Generator) -> Attributes:
        """Draw attributes in the modality's vocabulary."""
        ...


class Draw(Protocol):
    """Function that draws one image of a lesion or patient."""

    def __call__(
        self,
        attributes: Attributes,
        rng: np.random.Generator,
        height: int,
        width: int,
        *,
        lesion_seed: int | None,
    ) -> Drawing:
        """Draw the image and its masks."""
        ...


@dataclass(frozen=True)
class Modality:
    """Modality of phantoms: its classes in column order and its two drawing functions."""

    name: str
    class_names: tuple[str, ...]
    draw_attributes: DrawAttributes
    draw: Draw


MODALITIES = {
    name: Modality(name, tuple(room.CLASSES), room.draw_attributes, room.draw)
    for name, room in (("dermoscopy", dermoscopy), ("chest_xray", chest_xray), ("colonoscopy", colonoscopy))
}


def find_modality(name: str) -> Modality:
    """Get a modality by name; the ConfigError lists the known ones."""
    if name not in MODALITIES:
        raise ConfigError(f"modality {name!r} cannot be drawn; known: {', '.join(MODALITIES)}")
    return MODALITIES[name]
