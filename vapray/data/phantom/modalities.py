"""Registry of drawn modalities by name."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vapray.data.phantom import chest_xray, colonoscopy, dermoscopy
from vapray.data.phantom.canvas import Attributes, Drawing
from vapray.errors import ConfigError


@dataclass(frozen=True)
class Modality:
    """Modality of phantoms.

    Attributes:
        name: name of the modality.
        class_names: classes in column order.
        draw_attributes: draws the attributes of one lesion or patient of a class.
        draw: draws one image from attributes, generator of the view, height, width and ``lesion_seed``.
        upright: True if images have an orientation; turned or mirrored images of other modalities are as likely.
    """

    name: str
    class_names: tuple[str, ...]
    draw_attributes: Callable[[str, np.random.Generator], Attributes]
    draw: Callable[[Attributes, np.random.Generator, int, int, int | None], Drawing]
    upright: bool


MODALITIES = {
    name: Modality(name, tuple(module.CLASSES), module.draw_attributes, module.draw, upright)
    for name, module, upright in (
        ("dermoscopy", dermoscopy, False),
        ("chest_xray", chest_xray, True),
        ("colonoscopy", colonoscopy, False),
    )
}


def find_modality(name: str) -> Modality:
    """Get a modality by name; the ConfigError lists the known ones."""
    if name not in MODALITIES:
        raise ConfigError(f"modality {name!r} cannot be drawn; known: {', '.join(MODALITIES)}")
    return MODALITIES[name]
