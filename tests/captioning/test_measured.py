"""Measured attributes are those that were drawn, whatever the picture's size."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.transform import resize

from vapray.captioning.attributes import Attributes, agreement
from vapray.captioning.measured.dermoscopy import find_lesion, measure_dermoscopy
from vapray.captioning.measured.frame import working_rgb
from vapray.captioning.prompt_set import load_prompt_set
from vapray.data.decode import center_crop, center_crop_resize, decode
from vapray.data.phantom import dermoscopy
from vapray.errors import ImageDecodeError

from .discs import cluttered, disc

PHANTOMS = 48
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def draw_phantoms(count: int) -> list[tuple[NDArray[np.uint8], Attributes]]:
    """Draw images [96, 96, 3] with their true attributes, classes in turn."""
    images = []
    for number in range(count):
        rng = np.random.default_rng([7, number])
        truth = dermoscopy.draw_attributes(list(dermoscopy.CLASSES)[number % len(dermoscopy.CLASSES)], rng)
        images.append((dermoscopy.draw(truth, rng, 96, 96, lesion_seed=number).image, truth))
    return images


def shrunk(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    small = resize(picture / 255.0, (side, side), order=1, anti_aliasing=True)
    return np.rint(small * 255).astype(np.uint8)


TARGETS = {"size": 0.9, "colours": 0.85, "outline": 0.8, "shape": 0.8, "texture": 0.7, "background": 0.9}
"""Least share of phantoms measured correctly: exactly for words, within ten points for shares."""
PROMPT_SET = load_prompt_set("dermoscopy")


@pytest.mark.parametrize("side", [96, 32])
def test_phantoms_are_measured_as_they_were_drawn(side: int) -> None:
    scores = [
        agreement(measure_dermoscopy(shrunk(image, side) if side != 96 else image), truth, PROMPT_SET)
        for image, truth in draw_phantoms(PHANTOMS)
    ]
    for name, least in TARGETS.items():
        enough = 0.5 if PROMPT_SET.attributes[name].kind == "share" else 0.99
        right = np.mean([score[name] >= enough for score in scores])
        assert right >= least, f"{name}: {right:.2f}"


@pytest.mark.parametrize("radius", [14.0, 24.0, 36.0])
@pytest.mark.parametrize("side", [32, 64, 96, 150])
def test_a_disc_is_round_smooth_uniform_and_as_large_as_drawn(radius: float, side: int) -> None:
    found = measure_dermoscopy(disc(radius, side=side))
    assert (found["shape"], found["outline"], found["texture"]) == ("round", "smooth", "uniform")
    assert found["colours"] == ("dark brown",)
    assert found["background"] == "pale skin"
    assert found["size"] == pytest.approx(np.pi * radius**2 / 96**2, abs=0.04)


@pytest.mark.parametrize(("stretch", "shape"), [(1.0, "round"), (1.5, "oval"), (2.2, "elongated")])
def test_shape_follows_the_axis_ratio_in_either_direction(stretch: float, shape: str) -> None:
    picture = disc(16, stretch=stretch)
    assert measure_dermoscopy(picture)["shape"] == shape
    assert measure_dermoscopy(np.ascontiguousarray(picture.transpose(1, 0, 2)))["shape"] == shape


def test_flipping_an_image_changes_nothing() -> None:
    for image, _ in draw_phantoms(6):
        here, there = (measure_dermoscopy(np.ascontiguousarray(one)) for one in (image, image[:, ::-1]))
        scores = agreement(here, there, PROMPT_SET)
        assert all(score > 0.9 for score in scores.values()), scores


def test_images_of_nothing_state_no_finding_and_do_not_fail() -> None:
    for value in (0, 128, 255):
        assert set(measure_dermoscopy(np.full((48, 48, 3), value, np.uint8))) <= {"background"}
    noise = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    assert all(set(measure_dermoscopy(image)) <= set(PROMPT_SET.attributes) for image in noise)


@pytest.mark.parametrize("shape", [(96, 64, 3), (96, 96), (96, 96, 4), (4, 4, 3)])
def test_what_is_not_a_square_picture_is_a_bad_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageDecodeError, match="expected uint8"):
        measure_dermoscopy(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("radius", [7.0, 14.0, 30.0])
def test_clutter_does_not_change_a_lesions_size(radius: float) -> None:
    found = measure_dermoscopy(cluttered(disc(radius)))
    assert found["size"] == pytest.approx(np.pi * radius**2 / 96**2, abs=0.04)
    assert found["shape"] == "round"


def test_a_little_less_light_changes_no_size() -> None:
    for image, _ in draw_phantoms(6):
        bright, dim = measure_dermoscopy(image), measure_dermoscopy((image * 0.85).astype(np.uint8))
        assert dim["size"] == pytest.approx(bright["size"], abs=0.03)


def real(folder: str, name: str) -> Path:
    """A file or folder of real data; the test is skipped where there is none."""
    path = SHARED / folder / name
    if not path.exists():
        pytest.skip(f"the real pictures of {folder} are not here")
    return path


def frame(path: Path) -> NDArray[np.uint8]:
    return center_crop_resize(decode(path.read_bytes()), 96)


def test_lesions_of_real_images_are_found() -> None:
    overlaps = []
    for path in sorted(real("derm", "masks").glob("*.png"))[::5]:
        mask, _ = find_lesion(working_rgb(frame(real("derm", "images") / f"{path.stem}.jpg")))
        wanted = shrunk(center_crop(decode(path.read_bytes())), 96)[..., 0] > 127
        overlaps.append((mask & wanted).sum() / max(1, (mask | wanted).sum()))
    assert len(overlaps) == 60 and np.mean(overlaps) >= 0.7
