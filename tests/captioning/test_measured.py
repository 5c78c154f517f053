"""Measured attributes are those that were drawn, whatever the picture's size."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.io import imread
from skimage.transform import resize

from vapray.captioning.attributes import Attributes, agreement
from vapray.captioning.measured.dermoscopy import find_lesion
from vapray.captioning.measured.frame import working_lab, working_rgb
from vapray.captioning.measured.lesion import without_hair
from vapray.captioning.measured.measure import MEASURES, measure
from vapray.captioning.prompt_set import known_prompt_sets, load_prompt_set
from vapray.errors import BadImage, ConfigError

from .discs import disc

PHANTOMS = 48
DERM = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "derm"


def draw_phantoms(modality: str, count: int) -> list[tuple[NDArray[np.uint8], Attributes]]:
    """Return pictures [96, 96, 3] with their true attributes, classes in turn."""
    module = importlib.import_module(f"vapray.data.phantom.{modality}")
    pictures = []
    for number in range(count):
        rng = np.random.default_rng([7, number])
        truth = module.draw_attributes(list(module.CLASSES)[number % len(module.CLASSES)], rng)
        pictures.append((module.draw(truth, rng, 96, 96, lesion_seed=number).picture, truth))
    return pictures


def shrunk(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    small = resize(picture / 255.0, (side, side), order=1, anti_aliasing=True)
    return np.rint(small * 255).astype(np.uint8)


LESION = {"size": 0.9, "colours": 0.85, "outline": 0.8, "shape": 0.8, "texture": 0.7, "background": 0.9}
CHEST = {"lung_area": 0.9, "opacity_size": 0.9, "heart_width": 0.8, "symmetry": 0.8}
OPACITY = {"opacity_location": 0.8, "opacity_density": 0.8}
TARGETS = {"dermoscopy": LESION, "colonoscopy": LESION, "chest_xray": CHEST | OPACITY}
"""Least share of phantoms measured rightly: exactly for words, within ten points for shares."""


@pytest.mark.parametrize("side", [96, 32])
@pytest.mark.parametrize("modality", sorted(TARGETS))
def test_phantoms_are_measured_as_they_were_drawn(modality: str, side: int) -> None:
    prompt_set = load_prompt_set(modality)
    scores = [
        agreement(measure(shrunk(picture, side) if side != 96 else picture, modality), truth, prompt_set)
        for picture, truth in draw_phantoms(modality, PHANTOMS)
    ]
    for name, least in TARGETS[modality].items():
        enough = 0.5 if prompt_set.attributes[name].kind == "share" else 0.99
        right = np.mean([score[name] >= enough for score in scores])
        assert right >= least, f"{name}: {right:.2f}"


@pytest.mark.parametrize("radius", [14.0, 24.0, 36.0])
@pytest.mark.parametrize("side", [32, 64, 96, 150])
def test_a_disc_is_round_smooth_uniform_and_as_large_as_drawn(radius: float, side: int) -> None:
    found = measure(disc(radius, side=side), "dermoscopy")
    assert (found["shape"], found["outline"], found["texture"]) == ("round", "smooth", "uniform")
    assert found["colours"] == ("dark brown",)
    assert found["background"] == "pale skin"
    assert found["size"] == pytest.approx(np.pi * radius**2 / 96**2, abs=0.04)


@pytest.mark.parametrize(("stretch", "shape"), [(1.0, "round"), (1.5, "oval"), (2.2, "elongated")])
def test_shape_follows_the_axis_ratio_in_either_direction(stretch: float, shape: str) -> None:
    picture = disc(16, stretch=stretch)
    assert measure(picture, "dermoscopy")["shape"] == shape
    assert measure(np.ascontiguousarray(picture.transpose(1, 0, 2)), "dermoscopy")["shape"] == shape


@pytest.mark.parametrize("modality", sorted(MEASURES))
def test_flipping_a_picture_changes_nothing_but_sides(modality: str) -> None:
    prompt_set = load_prompt_set(modality)
    sided = {"opacity_location"}
    for picture, _ in draw_phantoms(modality, 6):
        here, there = (measure(np.ascontiguousarray(p), modality) for p in (picture, picture[:, ::-1]))
        scores = agreement(here, there, prompt_set)
        assert all(score > 0.9 for name, score in scores.items() if name not in sided), scores


@pytest.mark.parametrize("modality", sorted(MEASURES))
def test_pictures_of_nothing_state_no_finding_and_do_not_fail(modality: str) -> None:
    for value in (0, 128, 255):
        assert set(measure(np.full((48, 48, 3), value, np.uint8), modality)) <= {"background"}
    noise = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    allowed = set(load_prompt_set(modality).attributes)
    assert all(set(measure(picture, modality)) <= allowed for picture in noise)


@pytest.mark.parametrize("shape", [(96, 64, 3), (96, 96), (96, 96, 4), (4, 4, 3)])
def test_what_is_not_a_square_picture_is_a_bad_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadImage, match="wanted uint8"):
        measure(np.zeros(shape, np.uint8), "dermoscopy")


def test_every_shipped_modality_can_be_measured_and_others_are_refused() -> None:
    assert set(MEASURES) == set(known_prompt_sets())
    with pytest.raises(ConfigError, match="chest_xray, colonoscopy, dermoscopy"):
        measure(disc(20), "retina")


@pytest.mark.skipif(not DERM.is_dir(), reason="the real dermoscopic images are not here")
def test_lesions_of_real_images_are_found() -> None:
    overlaps = []
    for path in sorted((DERM / "masks").glob("*.png"))[::6]:
        picture, truth = imread(DERM / "images" / f"{path.stem}.jpg"), np.atleast_3d(imread(path))[..., 0]
        edge = (picture.shape[1] - picture.shape[0]) // 2
        square = np.s_[:, edge : edge + picture.shape[0]]
        mask, _ = find_lesion(without_hair(working_lab(working_rgb(picture[square]))))
        wanted = resize(truth[square] > 127, mask.shape, order=0, anti_aliasing=False)
        overlaps.append((mask & wanted).sum() / max(1, (mask | wanted).sum()))
    assert np.mean(overlaps) >= 0.6
