"""Accuracy and information of rich captions, for the benchmark ``measured_captioner``."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow.csv
from numpy.typing import NDArray
from PIL import Image

from vapray.captioning.attributes import Attributes
from vapray.captioning.caption_templates import rounded_share
from vapray.captioning.measured.dermoscopy import find_lesion, measure_dermoscopy
from vapray.captioning.measured.frame import SIDE, Mask, working_lab, working_rgb
from vapray.captioning.measured.scene import scene_attributes
from vapray.captioning.measured.skin import hue_word, lightness_word
from vapray.data.decode import center_crop, center_crop_resize, decode
from vapray.data.phantom.canvas import blend, darken_corners, draw_hairs, make_grid, soft_step
from vapray.data.phantom.dermoscopy import BACKGROUNDS, HAIR_COLOUR
from vapray.data.phantom.layout import encode_jpeg
from vapray.data.phantom.modalities import find_modality
from vapray.data.phantom.plan import plan_views
from vapray.evaluation.adherence import entropy_within_class_bits

BY_MASK = ("place", "contrast", "sharpness", "skin_hue", "skin_lightness")
HAIRS = {"some": 1, "many": 10}
SHADE = 0.35
FURTHER_RADIUS, FURTHER_GAP = 0.08, 12

Picture = NDArray[np.uint8]


def rich_on_phantoms(count: int, seed: int) -> dict[str, float]:
    """Shares of phantoms whose rich attributes follow from what was drawn: its mask and its skin colour."""
    drawn, right = find_modality("dermoscopy"), []
    for view in plan_views(drawn, count, seed=seed):
        drawing = drawn.draw(view.attributes, np.random.default_rng(view.view_seed), SIDE, 128, view.lesion_seed)
        image = center_crop_resize(decode(encode_jpeg(drawing.image)), SIDE)
        mask = drawing.masks["lesion"][:, (128 - SIDE) // 2 : (128 + SIDE) // 2]
        skin = working_lab(np.array(BACKGROUNDS[str(view.attributes["background"])])[None, None] / 255)[0, 0]
        truth = scene_attributes(working_rgb(image), mask, skin) | {
            "skin_hue": hue_word(skin),
            "skin_lightness": lightness_word(float(skin[0])),
            "lesions": "single",
        }
        right.append(_equal(measure_dermoscopy(image, "rich"), truth, (*BY_MASK, "lesions")))
    return _shares(right, "rich_phantoms")


def rich_by_expert_masks(folder: Path, every: int) -> dict[str, float]:
    """Shares of real images whose words are the same by the lesion mask drawn by hand and by the measured one.

    One formula is applied to both masks: errors of the formula itself do not show.
    """
    right = []
    for path in sorted((folder / "masks").glob("*.png"))[::every]:
        rgb = working_rgb(_frame(folder / "images" / f"{path.stem}.jpg"))
        drawn = center_crop(decode(path.read_bytes()))[..., 0] > 127
        wanted = np.asarray(Image.fromarray(drawn).resize((SIDE, SIDE), Image.Resampling.NEAREST))
        mask, skin = find_lesion(rgb)
        right.append(_equal(scene_attributes(rgb, mask, skin), scene_attributes(rgb, wanted, skin), BY_MASK))
    return _shares(right, "rich_expert")


def rich_by_drawn_clutter(folder: Path, every: int, seed: int) -> dict[str, float]:
    """Shares of real images in which hairs, dark corners and a further lesion are found once they are drawn.

    Each control is drawn on images in which the captioner found none of it before, so false findings do not show.
    """
    found: dict[str, list[bool]] = {}
    for number, path in enumerate(sorted((folder / "masks").glob("*.png"))[::every]):
        image, rng = _frame(folder / "images" / f"{path.stem}.jpg"), np.random.default_rng([seed, number])
        mask, _ = find_lesion(working_rgb(image))
        before = measure_dermoscopy(image, "rich")
        for name, (attribute, value, absent, picture) in _controls(image, mask, rng).items():
            if picture is not None and before.get(attribute) == absent:
                found.setdefault(name, []).append(measure_dermoscopy(picture, "rich").get(attribute) == value)
    return {f"rich_drawn_{name}": float(np.mean(right)) for name, right in found.items()}


def _controls(image: Picture, mask: Mask, rng: np.random.Generator) -> dict[str, tuple[str, str, str, Picture | None]]:
    """Name -> attribute, its value, its value before, and the picture; None where there is no room."""
    x, y = make_grid(SIDE, SIDE)
    hairy = {}
    for value, count in HAIRS.items():
        opacity = 0.8 * draw_hairs(x, y, rng, count=count, width=0.012, bend=0.6)
        hairy[f"{value}_hair"] = (
            "hair",
            value,
            "none",
            _drawn(blend(image.astype(np.float64), np.array(HAIR_COLOUR), opacity)),
        )
    shaded = _drawn(image * darken_corners(x, y, SHADE)[..., None])
    further = _with_further_lesion(image, mask, rng)
    return hairy | {
        "dark_corners": ("corners", "dark", "even", shaded),
        "several_lesions": ("lesions", "several", "single", further),
    }


def _with_further_lesion(image: Picture, mask: Mask, rng: np.random.Generator) -> Picture | None:
    """Draw a disc of the lesion's colour on the skin; None where the skin has no room."""
    x, y = make_grid(SIDE, SIDE)
    rows, columns = np.nonzero(mask)
    for centre in rng.uniform(-0.35, 0.35, (40, 2)):
        reach = np.hypot(y - centre[0], x - centre[1])
        if not (mask & (reach < FURTHER_RADIUS + FURTHER_GAP / SIDE)).any() and len(rows):
            colour = np.median(image[rows, columns], axis=0)
            return _drawn(blend(image.astype(np.float64), colour, soft_step(FURTHER_RADIUS - reach, 0.04)))
    return None


def bits_within_class(folder: Path, count: int, seed: int) -> dict[str, float]:
    """Information of the attributes beyond the class on real images, plain and rich.

    ``sum``: entropies of the attributes within the class, added up: an upper bound. ``joint``: entropy of all
    attributes together as counted; it cannot exceed ``most``, the value for images that all differ. ``pairs``: -log2 of
    the share of pairs of one class with equal attributes (Renyi's entropy of order 2), which the number of images
    does not limit; pairs of the largest class decide it, and few equal pairs make it uncertain. Shares are rounded as
    in the caption.
    """
    table = pyarrow.csv.read_csv(folder / "labels.csv").to_pylist()
    chosen = np.random.default_rng(seed).choice(len(table), min(count, len(table)), replace=False)
    images = [_frame(folder / table[number]["file"]) for number in chosen]
    labels = [table[number]["label"] for number in chosen]
    bits: dict[str, float] = {}
    for detail in ("plain", "rich"):
        said = [_as_said(measure_dermoscopy(image, detail)) for image in images]
        names = sorted({name for one in said for name in one})
        joint = [tuple(one.get(name) for name in names) for one in said]
        by_name = {name: entropy_within_class_bits([one.get(name) for one in said], labels) for name in names}
        bits |= {f"bits_{detail}_{name}": value for name, value in by_name.items()} if detail == "rich" else {}
        bits[f"bits_{detail}_sum"] = sum(by_name.values())
        bits[f"bits_{detail}_joint"] = entropy_within_class_bits(joint, labels)
        bits[f"bits_{detail}_pairs"] = _pair_bits(joint, labels)
    bits["bits_most"] = entropy_within_class_bits(range(len(labels)), labels)
    return bits


def _as_said(found: Attributes) -> dict[str, object]:
    return {name: rounded_share(value) if isinstance(value, float) else value for name, value in found.items()}


def _pair_bits(captions: Sequence[object], labels: Sequence[str]) -> float:
    by_class: dict[str, list[object]] = {}
    for caption, label in zip(captions, labels, strict=True):
        by_class.setdefault(label, []).append(caption)
    equal = pairs = 0
    for said in by_class.values():
        counts = np.array([said.count(one) for one in set(said)])
        equal, pairs = equal + int((counts * (counts - 1)).sum()), pairs + len(said) * (len(said) - 1)
    return float(-np.log2(max(equal, 1) / pairs))


def _equal(found: Attributes, truth: Attributes, names: Iterable[str]) -> Mapping[str, bool]:
    return {name: found.get(name) == truth.get(name) for name in names}


def _shares(right: Sequence[Mapping[str, bool]], prefix: str) -> dict[str, float]:
    return {f"{prefix}_{name}": float(np.mean([one[name] for one in right])) for name in right[0]}


@lru_cache(maxsize=512)
def _frame(path: Path) -> Picture:
    return center_crop_resize(decode(path.read_bytes()), SIDE)


def _drawn(image: NDArray[np.floating]) -> Picture:
    return np.rint(image).clip(0, 255).astype(np.uint8)
