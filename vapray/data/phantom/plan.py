"""Which phantoms a data set holds: lesions, their views, classes and splits, before anything is drawn.

``VIEWS``: pictures per lesion; all views of a lesion lie in one split.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from vapray.data.phantom.canvas import Attributes, Picture
from vapray.data.phantom.modalities import MODALITIES, Modality

VIEWS = (1, 3)
SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}


@dataclass(frozen=True)
class View:
    """One picture to draw: its lesion's attributes and the seeds of lesion and view."""

    image_id: str
    lesion_id: str
    split: str
    class_name: str
    attributes: Attributes
    lesion_seed: int
    view_seed: int


def plan_views(
    modality: Modality,
    n_images: int,
    *,
    seed: int,
    shares: Mapping[str, float] = SHARES,
    priors: Mapping[str, float] | None = None,
) -> list[View]:
    """What ``write_isic2018`` draws, without drawing it: n_images views, sorted by id."""
    rng = np.random.default_rng([seed, list(MODALITIES).index(modality.name)])
    priors = priors or dict.fromkeys(modality.class_names, 1.0)
    views: list[View] = []
    for split, n_split in _apportion(n_images, shares).items():
        for class_name, n_class in _apportion(n_split, priors).items():
            views += _plan_class(modality, class_name, split, n_class, rng)
    numbers = rng.permutation(len(views)) + 1
    named = [replace(view, image_id=f"PHANTOM_{number:07d}") for view, number in zip(views, numbers, strict=True)]
    lesions = {
        seed: f"LESION_{number:07d}" for number, seed in enumerate(dict.fromkeys(v.lesion_seed for v in views), 1)
    }
    return sorted(
        (replace(view, lesion_id=lesions[view.lesion_seed]) for view in named), key=lambda view: view.image_id
    )


def draw_view(modality: Modality, view: View, height: int, width: int) -> Picture:
    """The picture of one planned view, uint8 [height, width, 3]."""
    rng = np.random.default_rng(view.view_seed)
    return modality.draw(view.attributes, rng, height, width, lesion_seed=view.lesion_seed).picture


def _plan_class(modality: Modality, class_name: str, split: str, n_class: int, rng: np.random.Generator) -> list[View]:
    views: list[View] = []
    while len(views) < n_class:
        attributes, lesion_seed = modality.draw_attributes(class_name, rng), int(rng.integers(2**62))
        count = min(int(rng.integers(VIEWS[0], VIEWS[1] + 1)), n_class - len(views))
        views += [
            View("", "", split, class_name, attributes, lesion_seed, int(rng.integers(2**62))) for _ in range(count)
        ]
    return views


def _apportion(total: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers that sum to ``total``, in proportion to ``weights`` (largest remainders)."""
    exact = {name: total * weight / sum(weights.values()) for name, weight in weights.items()}
    counts = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return counts
