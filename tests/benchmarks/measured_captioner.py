"""Accuracy of the measured captioner on dermoscopy: phantoms with known truth, and real images with lesion masks.

    python -m tests.benchmarks.measured_captioner [--phantoms 300] [--seed 2] [--side 96] [--data ../shared/data]
                                                  [--bits 1500] [--every 1]

Phantoms are drawn and compressed as ``ingest`` draws them, with their default clutter, and cut and scaled as the
captioner gets them. An absent attribute counts as wrong. Values end in the modality:

    size_within_10_points  size within ten percentage points of the square
    colours_right          exactly the true set; colours_jaccard is the overlap of the sets
    outline_right, shape_right, texture_right, background_right
    size_difference        median, in percentage points

If ``--data`` has real images, ``mask_iou_derm`` is the mean intersection over union of the lesion's mask with the one
drawn by hand, both as the centred square at the working frame's pixels.
Rich captions: ``rich_phantoms_*`` by the drawn mask and skin, ``rich_expert_*`` by the masks drawn by hand,
``rich_drawn_*`` by clutter that is drawn on real images, ``bits_*`` as in
``tests.benchmarks.rich_captions.bits_within_class``.
``images_per_second_per_core`` counts CPU seconds from a JPEG of 200x150 to the caption.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tests.benchmarks.rich_captions import (
    bits_within_class,
    rich_by_drawn_clutter,
    rich_by_expert_masks,
    rich_on_phantoms,
)
from tests.benchmarks.table import report
from vapray.captioning.attributes import Attributes, agreement
from vapray.captioning.measured.captioner import MeasuredCaptioner
from vapray.captioning.measured.dermoscopy import find_lesion, measure_dermoscopy
from vapray.captioning.measured.frame import SIDE, working_rgb
from vapray.captioning.prompt_set import load_prompt_set
from vapray.data.decode import center_crop, center_crop_resize, decode
from vapray.data.phantom.layout import encode_jpeg
from vapray.data.phantom.modalities import find_modality
from vapray.data.phantom.plan import draw_view, plan_views

MODALITY = "dermoscopy"
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
SOURCE = (150, 200)
"""Height and width of the images whose rate is measured."""

TEN_POINTS = 0.1


def phantoms(count: int, seed: int, height: int = 96, width: int = 128) -> Iterator[tuple[bytes, Attributes]]:
    """Draw JPEGs, each with its true attributes."""
    drawn = find_modality(MODALITY)
    for view in plan_views(drawn, count, seed=seed):
        yield encode_jpeg(draw_view(drawn, view, height, width)), view.attributes


def right_on_phantoms(count: int, seed: int, side: int) -> dict[str, float]:
    """Shares of images that were measured correctly."""
    pairs = [
        (measure_dermoscopy(center_crop_resize(decode(data), side)), truth) for data, truth in phantoms(count, seed)
    ]
    rows = [_scores(found, truth) for found, truth in pairs]
    missed = [100 * _size_difference(found, truth) for found, truth in pairs if "size" in found]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]} | {
        "size_difference": float(np.median(missed))
    }


def _scores(found: Attributes, truth: Attributes) -> dict[str, float]:
    scores = agreement(found, truth, load_prompt_set(MODALITY))
    is_near = "size" in found and _size_difference(found, truth) <= TEN_POINTS
    words = {f"{name}_right": float(found.get(name) == truth[name]) for name in truth if name != "size"}
    jaccard = float(np.nan_to_num(scores["colours"]))
    return {"size_within_10_points": float(is_near), **words, "colours_jaccard": jaccard}


def _size_difference(found: Attributes, truth: Attributes) -> float:
    return abs(float(found["size"]) - float(truth["size"]))  # type: ignore[arg-type]


def lesion_overlaps(folder: Path, side: int) -> dict[str, float]:
    """Intersection over union by image, for every mask in ``folder/masks``."""
    overlaps = {}
    for path in sorted((folder / "masks").glob("*.png")):
        image = (folder / "images" / f"{path.stem}.jpg").read_bytes()
        found = find_lesion(working_rgb(center_crop_resize(decode(image), side)))[0]
        drawn = center_crop(decode(path.read_bytes()))[..., 0] > 127
        wanted = np.asarray(Image.fromarray(drawn).resize(found.shape, Image.Resampling.NEAREST))
        overlaps[path.stem] = float((found & wanted).sum() / max(1, (found | wanted).sum()))
    return overlaps


def rate(count: int, seed: int, side: int) -> float:
    """Images per CPU second, from the file's bytes to the caption."""
    files = [data for data, _ in phantoms(count, seed, *SOURCE)]
    captioner = MeasuredCaptioner(load_prompt_set(MODALITY))
    began = time.process_time()
    for number, data in enumerate(files):
        captioner.caption(center_crop_resize(decode(data), side)[None], [str(number)])
    return count / (time.process_time() - began)


def on_real_images(folder: Path, side: int) -> dict[str, float]:
    """Overlap with the lesion masks of ``folder``; empty if there are none."""
    if not (folder / "masks").is_dir():
        return {}
    overlaps = np.sort(list(lesion_overlaps(folder, side).values()))
    return {
        "mask_iou_derm": float(overlaps.mean()),
        "mask_iou_derm_median": float(np.median(overlaps)),
        "mask_iou_derm_worst_ten": float(overlaps[:10].mean()),
    }


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phantoms", type=int, default=300)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--bits", type=int, default=1500)
    parser.add_argument("--every", type=int, default=1)
    asked = parser.parse_args()
    found = right_on_phantoms(asked.phantoms, asked.seed, asked.side)
    values = {f"{name}.{MODALITY}": value for name, value in found.items()}
    values |= on_real_images(asked.data / "derm", asked.side)
    values |= rich_on_phantoms(asked.phantoms, asked.seed)
    if (folder := asked.data / "derm").is_dir():
        values |= rich_by_expert_masks(folder, asked.every) | rich_by_drawn_clutter(folder, asked.every, asked.seed)
        values |= bits_within_class(folder, asked.bits, asked.seed)
    values["images_per_second_per_core"] = rate(60, asked.seed, asked.side)
    config = {"phantoms": asked.phantoms, "seed": asked.seed, "side": asked.side, "device": "cpu, one thread"}
    report("measured_captioner", config, {}, values)


if __name__ == "__main__":
    main()
