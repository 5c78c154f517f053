"""Chest X-ray phantoms: lungs, heart, ribs, spine and at most one opacity, seen from the front.

Ranges (brightness of 255, shares of the square's side): ``AIR``, ``SOFT_TISSUE``, ``LUNG``, ``HEART``
brightness; ``RIB_GAIN``, ``SPINE_GAIN``, ``CLAVICLE_GAIN`` added to it; ``RIB_SPACING``; ``MARKINGS``
deviation of the lung vessels; ``FAINT``, ``DENSE`` opacity of the two densities; ``BORDER`` softness of lung
and heart; ``SHIFT`` and ``TILT`` (radians) of the patient; ``CONTRAST`` factor; ``NOISE`` deviation of the
grain. Anatomy: see ``thorax``. A dense opacity of a lower zone is drawn as pleural fluid.
"""

from dataclasses import dataclass

import numpy as np

from vapray.data.phantom.canvas import (
    Attributes,
    Drawing,
    Field,
    Mask,
    expose,
    make_grid,
    rotate,
    smooth_field,
    soft_step,
)
from vapray.data.phantom.thorax import Thorax, find_lungs, make_thorax, opacity_level

AIR, SOFT_TISSUE, LUNG, HEART = 10.0, 158.0, 52.0, 202.0
RIB_GAIN = (16.0, 26.0)
SPINE_GAIN = (22.0, 34.0)
CLAVICLE_GAIN = (22.0, 34.0)
RIB_SPACING = (0.085, 0.1)
MARKINGS = 4.0
FAINT = (0.34, 0.44)
DENSE = (0.78, 0.92)
BORDER = 0.02
SHIFT = 0.015
TILT = 0.03
CONTRAST = (0.92, 1.06)
NOISE = (2.0, 4.0)

UPPER_ZONES = ("left upper", "right upper")
LOWER_ZONES = ("left lower", "right lower")


@dataclass(frozen=True)
class ChestClass:
    """Distribution of the attributes of one class.

    Attributes:
        opacities: possible pairs of location and density.
        opacity_size: range, share of the square; its upper end is also at most ``LARGEST_OPACITY`` of the lung area.
        heart_width: range, share of the square's width.
        lung_area: range, share of the square; an asymmetric chest has at most ``LARGEST_ASYMMETRIC``.
    """

    opacities: tuple[tuple[str, str], ...]
    opacity_size: tuple[float, float]
    heart_width: tuple[float, float]
    lung_area: tuple[float, float]


LARGEST_OPACITY = 0.2
LARGEST_ASYMMETRIC = 0.36
NO_OPACITY = (("none", "none"),)
SLIM_HEART = (0.2, 0.31)

CLASSES = {
    "Normal": ChestClass(NO_OPACITY, (0.0, 0.0), SLIM_HEART, (0.25, 0.5)),
    "Pneumonia": ChestClass(
        tuple((zone, "faint") for zone in UPPER_ZONES + LOWER_ZONES) + tuple((zone, "dense") for zone in UPPER_ZONES),
        (0.025, 0.09),
        SLIM_HEART,
        (0.25, 0.5),
    ),
    "Effusion": ChestClass(tuple((zone, "dense") for zone in LOWER_ZONES), (0.03, 0.1), SLIM_HEART, (0.25, 0.48)),
    "Cardiomegaly": ChestClass(NO_OPACITY, (0.0, 0.0), (0.37, 0.45), (0.25, 0.42)),
}


def draw_attributes(class_name: str, rng: np.random.Generator) -> Attributes:
    """Draw the attributes of one patient of the class."""
    look = CLASSES[class_name]
    symmetric = bool(rng.random() < 0.6)
    largest = look.lung_area[1] if symmetric else min(LARGEST_ASYMMETRIC, look.lung_area[1])
    lung_area = float(rng.uniform(look.lung_area[0], largest))
    location, density = look.opacities[rng.integers(len(look.opacities))]
    smallest, opacity_largest = look.opacity_size
    return {
        "lung_area": round(lung_area, 4),
        "opacity_location": location,
        "opacity_density": density,
        "opacity_size": round(float(rng.uniform(smallest, min(opacity_largest, LARGEST_OPACITY * lung_area))), 4),
        "symmetry": "symmetric" if symmetric else "asymmetric",
        "heart_width": round(float(rng.uniform(*look.heart_width)), 4),
    }


def draw(
    attributes: Attributes,
    rng: np.random.Generator,
    height: int,
    width: int,
    lesion_seed: int | None = None,
) -> Drawing:
    """Draw one radiograph of a patient.

    Args:
        attributes: as from ``draw_attributes``.
        rng: view: position, tilt, exposure, grain.
        height: image height, in pixels.
        width: image width, in pixels.
        lesion_seed: fixes the anatomy, so that two views show one patient; None takes it from ``rng``.

    Returns:
        The image (grey, as RGB) and the masks ``lungs`` (opacity included), ``heart`` and ``opacity``.
    """
    patient_rng = rng if lesion_seed is None else np.random.default_rng(lesion_seed)
    thorax = make_thorax(attributes, patient_rng)
    grid_x, grid_y = make_grid(height, width)
    shift = rng.uniform(-SHIFT, SHIFT, 2).astype(np.float32)
    x, y = rotate(grid_x - shift[0], grid_y - shift[1], rng.uniform(-TILT, TILT))
    lungs, heart = find_lungs(thorax, x, y)
    opacity, cover = _draw_opacity(attributes, thorax, lungs, x, y, patient_rng)
    image = _draw_chest(thorax, x, y, patient_rng, cover)
    contrast = np.float32(rng.uniform(*CONTRAST))
    grey = np.repeat(((image - 110) * contrast + 110)[..., None], 3, axis=2)
    return Drawing(expose(grey, rng, noise=rng.uniform(*NOISE)), {"lungs": lungs, "heart": heart, "opacity": opacity})


def _draw_opacity(
    attributes: Attributes, thorax: Thorax, lungs: Mask, x: Field, y: Field, rng: np.random.Generator
) -> tuple[Mask, Field]:
    """Draw the opacity's mask and its coverage of the lung, 0 to 1."""
    if attributes["opacity_location"] == "none":
        return np.zeros_like(lungs), np.zeros(lungs.shape, np.float32)
    level = opacity_level(attributes, thorax, lungs, x, y, rng)
    strength = rng.uniform(*(DENSE if attributes["opacity_density"] == "dense" else FAINT))
    return (level > 0) & lungs, soft_step(level, 0.05) * np.float32(strength)


def _draw_chest(thorax: Thorax, x: Field, y: Field, rng: np.random.Generator, cover: Field) -> Field:
    """Draw the brightness [H, W] of all parts, back to front."""
    body = soft_step(y + np.float32(0.47) - np.float32(0.9) * np.clip(np.abs(x) - 0.16, 0, 1) ** 1.5, 0.03)
    image = AIR + (SOFT_TISSUE - AIR) * body * (1 - np.float32(0.35) * np.clip(np.abs(x) - 0.3, 0, 1))
    image = image + 26 * soft_step(y - np.float32(thorax.base_y - thorax.dome), 0.2)
    in_lung = soft_step(thorax.lung_distance(x, y), BORDER)
    depths = LUNG + MARKINGS * smooth_field(x, y, rng, cycles=9) + 18 * np.exp(-((np.abs(x) - 0.08) ** 2) / 0.006)
    depths = depths + cover * (SOFT_TISSUE + 22 - depths)
    image = image + in_lung * (depths - image)
    image = image + body * (_ribs(x, y, rng) * (1 - np.float32(0.6) * cover) + _spine(x, y, rng))
    in_heart = soft_step(thorax.heart_distance(x, y), BORDER)
    return image + in_heart * (HEART - image) * np.float32(0.9) + _clavicles(x, y, thorax.apex_y, rng)


def _ribs(x: Field, y: Field, rng: np.random.Generator) -> Field:
    """Draw bright arcs that fall from the spine to the sides."""
    spread = np.abs(x)
    arch = y - np.float32(0.9) * spread * spread + np.float32(0.12) * spread
    wave = np.cos(arch * np.float32(2 * np.pi / rng.uniform(*RIB_SPACING)) + np.float32(rng.uniform(0, 6.28)))
    within = soft_step(np.float32(0.46) - spread, 0.06) * soft_step(np.float32(0.4) - y, 0.1)
    return soft_step(wave - np.float32(0.25), 0.8) * within * np.float32(rng.uniform(*RIB_GAIN))


def _spine(x: Field, y: Field, rng: np.random.Generator) -> Field:
    """Draw a bright column with the rhythm of the vertebrae."""
    rhythm = 1 + np.float32(0.25) * np.cos(y * np.float32(2 * np.pi / 0.075))
    return soft_step(np.float32(0.05) - np.abs(x), 0.03) * rhythm * np.float32(rng.uniform(*SPINE_GAIN))


def _clavicles(x: Field, y: Field, apex_y: float, rng: np.random.Generator) -> Field:
    """Draw two bright bars that cross the lung apices, rising to the shoulders."""
    spread = np.abs(x)
    bar = np.abs(y - np.float32(apex_y + 0.1) + np.float32(0.22) * spread)
    ends = soft_step(spread - np.float32(0.05), 0.04) * soft_step(np.float32(0.44) - spread, 0.06)
    return soft_step(np.float32(0.016) - bar, 0.02) * ends * np.float32(rng.uniform(*CLAVICLE_GAIN))
