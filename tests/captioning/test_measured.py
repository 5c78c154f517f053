"""Measured attributes are those that were drawn, whatever the picture's size."""

import csv
import importlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.transform import resize

from vapray.captioning.attributes import Attributes, agreement
from vapray.captioning.measured.dermoscopy import find_lesion
from vapray.captioning.measured.frame import working_rgb
from vapray.captioning.measured.measure import MEASURES, measure
from vapray.captioning.prompt_set import known_prompt_sets, load_prompt_set
from vapray.data.decode import decode, square, to_frame
from vapray.errors import BadImage, ConfigError

from .discs import cluttered, disc

PHANTOMS = 48
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


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


@pytest.mark.parametrize("radius", [7.0, 14.0, 30.0])
def test_clutter_does_not_change_a_lesions_size(radius: float) -> None:
    found = measure(cluttered(disc(radius)), "dermoscopy")
    assert found["size"] == pytest.approx(np.pi * radius**2 / 96**2, abs=0.04)
    assert found["shape"] == "round"


@pytest.mark.parametrize("modality", sorted(MEASURES))
def test_a_little_less_light_changes_no_size(modality: str) -> None:
    names = {"size", "lung_area", "opacity_size"}
    for picture, _ in draw_phantoms(modality, 6):
        bright, dim = measure(picture, modality), measure((picture * 0.85).astype(np.uint8), modality)
        for name in names & set(bright):
            assert dim[name] == pytest.approx(bright[name], abs=0.03), name


def test_a_mirrored_chest_has_its_opacity_on_the_other_side() -> None:
    seen = 0
    for picture, truth in draw_phantoms("chest_xray", 12):
        here, there = (measure(np.ascontiguousarray(p), "chest_xray") for p in (picture, picture[:, ::-1]))
        other = {"left": "right", "right": "left", "none": "none"}
        side, *zone = str(here["opacity_location"]).split()
        assert str(there["opacity_location"]).split() == [other[side], *zone], truth
        seen += side != "none"
    assert seen >= 4, "few of these phantoms have an opacity"


def test_a_wall_without_a_polyp_shows_its_background_alone() -> None:
    across = np.linspace(-1, 1, 96)
    light = 0.85 + 0.15 * np.sin(5 * across[:, None] + across[None, :] ** 2)
    wall = np.array([222, 146, 134]) * light[..., None] + np.random.default_rng(0).normal(0, 3, (96, 96, 1))
    assert measure(wall.clip(0, 255).astype(np.uint8), "colonoscopy") == {"background": "pink mucosa"}


def test_a_chest_with_one_lung_hidden_is_not_guessed() -> None:
    picture, _ = draw_phantoms("chest_xray", 1)[0]
    hidden = picture.copy()
    hidden[:, 46:] = 170
    assert measure(picture, "chest_xray") and not measure(hidden, "chest_xray")


def real(folder: str, name: str) -> Path:
    """A file or folder of real data; the test is skipped where there is none."""
    path = SHARED / folder / name
    if not path.exists():
        pytest.skip(f"the real pictures of {folder} are not here")
    return path


def frame(path: Path) -> NDArray[np.uint8]:
    return to_frame(decode(path.read_bytes()), 96)


def test_lesions_of_real_images_are_found() -> None:
    overlaps = []
    for path in sorted(real("derm", "masks").glob("*.png"))[::5]:
        mask, _ = find_lesion(working_rgb(frame(real("derm", "images") / f"{path.stem}.jpg")))
        wanted = shrunk(square(decode(path.read_bytes())), 96)[..., 0] > 127
        overlaps.append((mask & wanted).sum() / max(1, (mask | wanted).sum()))
    assert len(overlaps) == 60 and np.mean(overlaps) >= 0.7


def test_a_real_polyp_that_is_found_has_about_the_area_that_was_drawn() -> None:
    with real("colon", "labels.csv").open() as table:
        rows = [row for row in csv.DictReader(table) if row["neoplastic_area"]][::16]
    found, drawn = [], []
    for row in rows:
        picture = decode((SHARED / "colon" / row["file"]).read_bytes())
        size = measure(to_frame(picture, 96), "colonoscopy").get("size", 0.0)
        found.append(size * min(picture.shape[:2]) / max(picture.shape[:2]))  # type: ignore[operator]
        drawn.append(float(row["neoplastic_area"]) + float(row["non_neoplastic_area"]))
    ratios = np.array(found) / np.array(drawn)
    assert (ratios > 0).sum() >= 8, "too few are found to tell"
    assert np.mean((ratios[ratios > 0] > 0.5) & (ratios[ratios > 0] < 2)) >= 0.6


def test_lungs_of_real_films_are_found_in_most_and_of_a_plausible_size() -> None:
    areas = [
        measure(frame(path), "chest_xray").get("lung_area") for path in sorted(real("cxr", "images").iterdir())[::30]
    ]
    found = [area for area in areas if area is not None]
    assert len(found) >= 0.8 * len(areas)
    assert 0.15 < np.median(found) < 0.35
