"""Plan of a phantom dataset: lesions, their views, classes and splits, before drawing.

``VIEWS``: range of images per lesion; all views of a lesion are in one split.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vapray.data.phantom.canvas import Attributes, ImageArray
from vapray.data.phantom.modalities import MODALITIES, Modality
from vapray.errors import ConfigError

VIEWS = (1, 3)
UNSEEN, LOOKS = 0.25, 1000
"""Share of a class's combinations that are kept for the test split, and draws by which they are known."""
SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}


@dataclass(frozen=True)
class View:
    """Image to draw: its lesion's attributes and the seeds of lesion and view."""

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
    unseen: Sequence[str] = (),
) -> list[View]:
    """Plan the ``n_images`` views that ``write_isic2018`` draws, sorted by id.

    Raises:
        ConfigError: ``unseen`` contains an unknown attribute, or a class has too few combinations of them.
    """
    rng = np.random.default_rng([seed, list(MODALITIES).index(modality.name)])
    priors = priors or dict.fromkeys(modality.class_names, 1.0)
    combinations = _Combinations(modality, unseen, seed)
    views: list[View] = []
    for split, n_split in _apportion(n_images, shares).items():
        for class_name, n_class in _apportion(n_split, priors).items():
            views += _plan_class(modality, class_name, split, n_class, rng, combinations)
    numbers = rng.permutation(len(views)) + 1
    named = [replace(view, image_id=f"PHANTOM_{number:07d}") for view, number in zip(views, numbers, strict=True)]
    lesions = {
        seed: f"LESION_{number:07d}" for number, seed in enumerate(dict.fromkeys(v.lesion_seed for v in views), 1)
    }
    return sorted(
        (replace(view, lesion_id=lesions[view.lesion_seed]) for view in named), key=lambda view: view.image_id
    )


def draw_view(modality: Modality, view: View, height: int, width: int) -> ImageArray:
    """Draw the image of one planned view, uint8 [height, width, 3]."""
    rng = np.random.default_rng(view.view_seed)
    return modality.draw(view.attributes, rng, height, width, view.lesion_seed).image


class _Combinations:
    """Combinations of attribute values that are reserved for the test split, per class."""

    def __init__(self, modality: Modality, names: Sequence[str], seed: int) -> None:
        self._modality, self._names, self._seed = modality, names, seed
        self._unseen = {name: self._choose(name) for name in modality.class_names} if names else {}

    def draw(self, class_name: str, split: str, rng: np.random.Generator) -> Attributes:
        """Draw the attributes of one lesion of a split."""
        while True:
            attributes = self._modality.draw_attributes(class_name, rng)
            if not self._names or (self._of(attributes) in self._unseen[class_name]) == (split == "test"):
                return attributes

    def _choose(self, class_name: str) -> set[str]:
        rng = np.random.default_rng(self._seed)
        found = sorted({self._of(self._modality.draw_attributes(class_name, rng)) for _ in range(LOOKS)})
        if len(found) < 2:
            raise ConfigError(
                f"data.phantom.unseen = [{', '.join(self._names)}]: class {class_name} has no two combinations of "
                "these, so none can be reserved for the test split. Fix: name more attributes, or others."
            )
        return set(rng.permutation(found)[: max(1, round(len(found) * UNSEEN))].tolist())

    def _of(self, attributes: Attributes) -> str:
        if unknown := [name for name in self._names if isinstance(attributes.get(name), float | None)]:
            known = ", ".join(name for name, value in attributes.items() if not isinstance(value, float))
            raise ConfigError(f"data.phantom.unseen: {', '.join(unknown)} not accepted; accepted: {known}.")
        return str([attributes[name] for name in self._names])


def _plan_class(
    modality: Modality,
    class_name: str,
    split: str,
    n_class: int,
    rng: np.random.Generator,
    combinations: _Combinations,
) -> list[View]:
    views: list[View] = []
    while len(views) < n_class:
        attributes, lesion_seed = combinations.draw(class_name, split, rng), int(rng.integers(2**62))
        count = min(int(rng.integers(VIEWS[0], VIEWS[1] + 1)), n_class - len(views))
        views += [
            View("", "", split, class_name, attributes, lesion_seed, int(rng.integers(2**62))) for _ in range(count)
        ]
    return views


def _apportion(total: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Divide ``total`` into whole numbers in proportion to ``weights`` (largest remainders)."""
    exact = {name: total * weight / sum(weights.values()) for name, weight in weights.items()}
    counts = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return counts
