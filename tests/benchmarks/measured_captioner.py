"""How often the measured captioner is right on phantoms, where the truth is written, and how near on real pictures.

    python -m tests.benchmarks.measured_captioner [--phantoms 300] [--seed 2] [--side 96] [--data ../shared/data]

Phantoms are drawn and compressed as ``ingest`` draws them, with their default clutter, and cut and scaled as the
captioner gets them. A picture whose attribute is absent counts as wrong. Values end in the modality:

    size_within_10_points  of the square; for chest X-rays lung area and opacity size both
    colours_right          the very set; colours_jaccard is what the sets share
    outline_right, shape_right, texture_right, background_right
    density_right, location_right, symmetry_right, heart_within_5_points
                           for chest X-rays, which have neither colours nor outline nor shape
    size_difference        median, in percentage points; for chest X-rays that of the lung area

Real pictures, where ``--data`` holds them: ``mask_iou_derm`` is the mean intersection over union of the lesion's mask
with the one drawn by hand, both as the centred square at the working frame's pixels; what lies beyond the square counts
for neither. ``polyp_area`` is that of the pictures in which one was found (``polyp_found``), against NeoPolyp's,
which is a share of the whole frame: ours times square over frame. ``lungs_found`` is the share of radiographs in which
both lungs were found.
``images_per_second_per_core`` counts CPU seconds from a JPEG of 200x150 to the caption; the slowest modality.
"""

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.benchmarks.table import report
from vapray.captioning.attributes import Attributes, agreement
from vapray.captioning.measured.captioner import MeasuredCaptioner
from vapray.captioning.measured.colonoscopy import find_polyp
from vapray.captioning.measured.dermoscopy import find_lesion
from vapray.captioning.measured.frame import SIDE, working_rgb
from vapray.captioning.measured.measure import MEASURES, measure
from vapray.captioning.prompt_set import load_prompt_set
from vapray.data.decode import decode, square, to_frame
from vapray.data.phantom.layout import encode_jpeg
from vapray.data.phantom.modalities import find_modality
from vapray.data.phantom.plan import draw_view, plan_views

Picture = NDArray[np.uint8]
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
SOURCE = (150, 200)
"""Height and width of the pictures whose rate is taken."""

RADIOGRAPHS = 4
"""Every so many of the radiographs are looked at."""

TEN_POINTS, FIVE_POINTS = 0.1, 0.05


def phantoms(
    modality: str, count: int, seed: int, height: int = 96, width: int = 128
) -> Iterator[tuple[bytes, Attributes]]:
    """JPEGs with what they truly show."""
    drawn = find_modality(modality)
    for view in plan_views(drawn, count, seed=seed):
        yield encode_jpeg(draw_view(drawn, view, height, width)), view.attributes


def right_on_phantoms(modality: str, count: int, seed: int, side: int) -> dict[str, float]:
    """Shares of pictures that were measured rightly."""
    pairs = [
        (measure(to_frame(decode(data), side), modality), truth) for data, truth in phantoms(modality, count, seed)
    ]
    verdict = _chest if modality == "chest_xray" else _lesion
    rows = [verdict(found, truth) for found, truth in pairs]
    values = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    main = "lung_area" if modality == "chest_xray" else "size"
    missed = [100 * _difference(found, truth, main) for found, truth in pairs if main in found]
    return values | {"size_difference": float(np.median(missed))}


def _lesion(found: Attributes, truth: Attributes) -> dict[str, float]:
    scores = agreement(found, truth, load_prompt_set("dermoscopy"))
    words = {f"{name}_right": float(found.get(name) == truth[name]) for name in truth if name != "size"}
    jaccard = {"colours_jaccard": float(np.nan_to_num(scores["colours"]))}
    return {"size_within_10_points": _within(found, truth, "size", TEN_POINTS)} | words | jaccard


def _chest(found: Attributes, truth: Attributes) -> dict[str, float]:
    sizes = [_within(found, truth, name, TEN_POINTS) for name in ("lung_area", "opacity_size")]
    names = {"density": "opacity_density", "location": "opacity_location", "symmetry": "symmetry"}
    words = {f"{word}_right": float(found.get(name) == truth[name]) for word, name in names.items()}
    heart = _within(found, truth, "heart_width", FIVE_POINTS)
    return {"size_within_10_points": min(sizes)} | words | {"heart_within_5_points": heart}


def _within(found: Attributes, truth: Attributes, name: str, tolerance: float) -> float:
    return float(name in found and _difference(found, truth, name) <= tolerance)


def _difference(found: Attributes, truth: Attributes, name: str) -> float:
    return abs(float(found[name]) - float(truth[name]))  # type: ignore[arg-type]


def lesion_overlaps(folder: Path, side: int) -> dict[str, float]:
    """Intersection over union by image, for every mask in ``folder/masks``."""
    overlaps = {}
    for path in sorted((folder / "masks").glob("*.png")):
        found = find_lesion(working_rgb(_frame(folder / "images" / f"{path.stem}.jpg", side)))[0]
        drawn = square(decode(path.read_bytes()))[..., 0] > 127
        wanted = np.asarray(Image.fromarray(drawn).resize(found.shape, Image.Resampling.NEAREST))
        overlaps[path.stem] = float((found & wanted).sum() / max(1, (found | wanted).sum()))
    return overlaps


def polyp_areas(folder: Path, side: int) -> NDArray[np.float64]:
    """[N, 2] found and drawn area, as shares of the frame, of NeoPolyp's pictures; NaN where none was found."""
    areas = []
    for row in csv.DictReader((folder / "labels.csv").open()):
        if row["neoplastic_area"]:
            with Image.open(folder / row["file"]) as image:
                share = min(image.size) / max(image.size)
            found = find_polyp(working_rgb(_frame(folder / row["file"], side)))[0].mean() * share or np.nan
            areas.append((found, float(row["neoplastic_area"]) + float(row["non_neoplastic_area"])))
    return np.array(areas)


def _frame(path: Path, side: int) -> Picture:
    return to_frame(decode(path.read_bytes()), side)


def rate(modality: str, count: int, seed: int, side: int) -> float:
    """Pictures per CPU second, from the file's bytes to the caption."""
    files = [data for data, _ in phantoms(modality, count, seed, *SOURCE)]
    captioner = MeasuredCaptioner(load_prompt_set(modality))
    began = time.process_time()
    for number, data in enumerate(files):
        captioner.caption(to_frame(decode(data), side)[None], [str(number)])
    return count / (time.process_time() - began)


def on_real_pictures(data: Path, side: int) -> dict[str, float]:
    """What there is to compare with, in folders ``derm`` and ``colon``; nothing where they are missing."""
    values: dict[str, Any] = {}
    if (data / "derm" / "masks").is_dir():
        overlaps = np.sort(list(lesion_overlaps(data / "derm", side).values()))
        values |= {"mask_iou_derm": overlaps.mean(), "mask_iou_derm_median": np.median(overlaps)}
        values |= {"mask_iou_derm_worst_ten": overlaps[:10].mean()}
    if (data / "colon" / "labels.csv").is_file():
        areas = polyp_areas(data / "colon", side)
        seen = areas[~np.isnan(areas[:, 0])]
        values |= {"polyp_found": len(seen) / len(areas), "polyp_area_correlation": np.corrcoef(seen.T)[0, 1]}
        values |= {"polyp_area_difference": 100 * np.median(np.abs(seen[:, 0] - seen[:, 1]))}
    if (data / "cxr" / "images").is_dir():
        films = sorted((data / "cxr" / "images").iterdir())[::RADIOGRAPHS]
        values |= {"lungs_found": np.mean([bool(measure(_frame(path, side), "chest_xray")) for path in films])}
    return {name: float(value) for name, value in values.items()}


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phantoms", type=int, default=300)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--data", type=Path, default=SHARED)
    asked = parser.parse_args()
    values: dict[str, float] = {}
    for modality in sorted(MEASURES):
        found = right_on_phantoms(modality, asked.phantoms, asked.seed, asked.side)
        values |= {f"{name}.{modality}": value for name, value in found.items()}
    values |= on_real_pictures(asked.data, asked.side)
    rates = [rate(modality, 60, asked.seed, asked.side) for modality in sorted(MEASURES)]
    config = {"phantoms": asked.phantoms, "seed": asked.seed, "side": asked.side, "device": "cpu, one thread"}
    report("measured_captioner", config, {}, values | {"images_per_second_per_core": min(rates)})


if __name__ == "__main__":
    main()
