"""Anatomy of a drawn chest: lungs, heart and opacity as masks and soft distances.

Shares of the square's side: ``MEDIASTINUM`` half width; ``LUNG_REACH`` width and height of the largest lung;
``APEX_Y`` top of the lungs; ``DOME`` height of the diaphragm; ``HEART_HEIGHT``; ``HEART_X`` its shift to the
viewer's right; ``HEART_LEAN`` sideways per height. ``SMALLER_LUNG`` width of the smaller lung of an
asymmetric chest, relative to the other. ``UPPER``, ``LOWER`` height of an opacity's centre, as a share of the
lung's.
A lung field is the lung without the heart, opacity included.
"""

from dataclasses import dataclass

import numpy as np

from vapray.data.phantom.canvas import Attributes, Field, Mask, make_grid, smooth_field

MEDIASTINUM = (0.045, 0.06)
LUNG_REACH = (0.41, 0.84)
APEX_Y = (-0.43, -0.41)
DOME = (0.08, 0.13)
HEART_HEIGHT = (0.26, 0.32)
HEART_X = 0.035
HEART_LEAN = 0.25
SMALLER_LUNG = (0.58, 0.68)
UPPER, LOWER = 0.3, 0.7
_SOLVER_PIXELS, _SOLVER_STEPS = 96, 10


@dataclass(frozen=True)
class Thorax:
    """Anatomy of one patient in shares of the square's side; ``narrow`` is the width factor of each lung."""

    mediastinum: float
    apex_y: float
    dome: float
    heart_height: float
    heart_width: float
    narrow: tuple[float, float]
    scale: float = 1.0

    @property
    def base_y(self) -> float:
        """Lowest point of the lungs."""
        return self.apex_y + LUNG_REACH[1] * self.scale**0.7

    def lung_distance(self, x: Field, y: Field) -> Field:
        """Compute the distance to the edge of the nearer lung, positive inside, heart not removed."""
        side = (x > 0).astype(np.float32)
        width = np.float32(LUNG_REACH[0] * self.scale) * (self.narrow[0] + side * (self.narrow[1] - self.narrow[0]))
        inward = np.abs(x) - np.float32(self.mediastinum)
        down = np.clip((y - self.apex_y) / np.float32(0.55 * (self.base_y - self.apex_y)), 0, 1)
        outer = width * np.sqrt(np.clip(1 - (1 - down) ** 2.4, 0, 1))
        across = np.clip(inward / width, 0, 1)
        floor = self.base_y - np.float32(self.dome) * (1 - ((across - 0.3) / 0.7) ** 2)
        return np.minimum(np.minimum(inward, outer - inward), np.minimum(floor - y, y - self.apex_y))

    def heart_distance(self, x: Field, y: Field) -> Field:
        """Compute the distance to the heart's edge, positive inside; its extent along x is ``heart_width``."""
        half_height = self.heart_height / 2
        lean = HEART_LEAN * half_height
        half_width = np.sqrt((self.heart_width / 2) ** 2 - lean**2)
        down = (y - np.float32(self.base_y - self.dome - 0.72 * half_height)) / np.float32(half_height)
        across = (x - np.float32(HEART_X) - np.float32(lean) * down) / np.float32(half_width)
        return (1 - np.hypot(across, down)) * np.float32(half_width)


def make_thorax(attributes: Attributes, rng: np.random.Generator) -> Thorax:
    """Draw an anatomy with the attributes' heart width, symmetry and lung area."""
    smaller = float(rng.uniform(*SMALLER_LUNG))
    first_is_smaller = bool(rng.integers(2))
    if attributes["symmetry"] == "symmetric":
        smaller = 1.0
    shape = {
        "mediastinum": float(rng.uniform(*MEDIASTINUM)),
        "apex_y": float(rng.uniform(*APEX_Y)),
        "dome": float(rng.uniform(*DOME)),
        "heart_height": float(rng.uniform(*HEART_HEIGHT)),
        "heart_width": _share(attributes, "heart_width"),
    }
    narrow = (smaller, 1.0) if first_is_smaller else (1.0, smaller)
    return _solve_scale(shape, narrow, _share(attributes, "lung_area"))


def _solve_scale(shape: dict[str, float], narrow: tuple[float, float], lung_area: float) -> Thorax:
    """Halve the interval of lung scales until the lung fields cover ``lung_area`` of the square."""
    x, y = make_grid(_SOLVER_PIXELS, _SOLVER_PIXELS)
    low, high = 0.3, 1.06
    for _ in range(_SOLVER_STEPS):
        thorax = Thorax(**shape, narrow=narrow, scale=(low + high) / 2)
        lungs, _ = find_lungs(thorax, x, y)
        low, high = (thorax.scale, high) if lungs.mean() < lung_area else (low, thorax.scale)
    return Thorax(**shape, narrow=narrow, scale=(low + high) / 2)


def find_lungs(thorax: Thorax, x: Field, y: Field) -> tuple[Mask, Mask]:
    """Compute the masks of the lung fields and of the heart."""
    heart = thorax.heart_distance(x, y) > 0
    return (thorax.lung_distance(x, y) > 0) & ~heart, heart


def opacity_level(
    attributes: Attributes, thorax: Thorax, lungs: Mask, x: Field, y: Field, rng: np.random.Generator
) -> Field:
    """Compute a distance-like field whose positive part, within ``lungs``, covers ``opacity_size`` of the square.

    A dense opacity of a lower zone is drawn as fluid that fills the lung from below; others are patches.
    """
    location = str(attributes["opacity_location"])
    horizontal = -1.0 if location.startswith("left") else 1.0
    if location.endswith("lower") and attributes["opacity_density"] == "dense":
        level = _fluid_level(x, y)
    else:
        level = _patch_level(thorax, horizontal, UPPER if location.endswith("upper") else LOWER, x, y, rng)
    on_side = lungs & (x * np.float32(horizontal) > 0)
    # The threshold leaves exactly the requested number of lung pixels above it.
    wanted = round(_share(attributes, "opacity_size") * min(lungs.shape) ** 2)
    inside = np.sort(level[on_side])[::-1]
    threshold = inside[min(wanted, len(inside) - 1)]
    return np.where(x * np.float32(horizontal) > 0, level - threshold, np.float32(-1))


def _fluid_level(x: Field, y: Field) -> Field:
    """Compute a level that rises downwards, and towards the chest wall, like a meniscus."""
    return y + np.float32(0.9) * x * x


def _patch_level(
    thorax: Thorax, horizontal: float, height: float, x: Field, y: Field, rng: np.random.Generator
) -> Field:
    """Compute a level that falls from a point in the lung's zone, in a bent circle."""
    width = LUNG_REACH[0] * thorax.scale * thorax.narrow[horizontal > 0]
    centre_x = horizontal * (thorax.mediastinum + width * rng.uniform(0.5, 0.6))
    centre_y = thorax.apex_y + (thorax.base_y - thorax.dome - thorax.apex_y) * (height + rng.uniform(-0.04, 0.04))
    reach = np.hypot(x - np.float32(centre_x), y - np.float32(centre_y))
    return np.float32(0.015) * smooth_field(x, y, rng, cycles=5) - reach


def _share(attributes: Attributes, name: str) -> float:
    value = attributes[name]
    if not isinstance(value, float):
        raise TypeError(f"{name} {value!r} must be a float")
    return value
