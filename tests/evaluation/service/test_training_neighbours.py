"""Training pictures near to one: itself first, and as far as real pictures are at 1."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from vapray.data.decode import decode
from vapray.errors import BadImage, DataError
from vapray.evaluation.service.neighbours import TrainingNeighbours, real_thumbnail
from vapray.sampling.provenance import read_provenance


@pytest.fixture(scope="module")
def neighbours(reference, real) -> TrainingNeighbours:
    return TrainingNeighbours(reference, real)


def test_a_training_picture_is_its_own_nearest(neighbours, real, frames):
    rows = real.images.read(["image_id", "split", "class", "path"]).to_pylist()
    train = [row for row in rows if row["split"] == "train"]
    for number in (0, 17, 62):
        found = neighbours.nearest(frames["train"][number], 4)
        assert found[0].distance < 1e-5 < found[1].distance
        assert (found[0].class_name, found[0].path) == (train[number]["class"], train[number]["path"])
        distances = [near.distance for near in found]
        assert distances == sorted(distances) and len({near.path for near in found}) == 4


def test_held_out_pictures_are_typically_at_one_and_noise_farther(neighbours, frames, noise):
    def nearest(pictures):
        return np.median([neighbours.nearest(picture, 1)[0].distance for picture in pictures])

    assert nearest(frames["test"]) == pytest.approx(1.0, rel=1e-6)
    assert nearest(noise) > 3


def test_more_neighbours_than_pictures_are_all_of_them(neighbours, frames):
    assert len(neighbours.nearest(frames["test"][0], 1000)) == 63


def test_a_thumbnail_says_that_it_is_real_and_shows_what_the_model_saw(neighbours, frames):
    png = real_thumbnail(neighbours.nearest(frames["train"][3], 1)[0].path, 32)
    assert np.array_equal(decode(png), frames["train"][3])
    assert read_provenance(png) == {"Source": "Real training image"}


def test_a_thumbnail_carries_nothing_else_of_its_file(tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "Jane Doe"
    Image.new("RGB", (40, 40)).save(tmp_path / "a.jpg", exif=exif, comment=b"Jane Doe")
    assert b"Jane Doe" in (tmp_path / "a.jpg").read_bytes()
    assert b"Jane Doe" not in real_thumbnail(str(tmp_path / "a.jpg"), 32)
    with pytest.raises(BadImage, match="cannot be read"):
        real_thumbnail(str(tmp_path / "b.jpg"), 32)


def test_without_held_out_pictures_there_is_no_yardstick(reference, real):
    nothing = replace(reference.held_out, features=np.zeros((0, 96)), labels=np.zeros(0, np.int64))
    with pytest.raises(DataError, match="no real images are held out"):
        TrainingNeighbours(replace(reference, held_out=nothing), real)
