"""Laws of the search in pixels: a training picture flipped or moved is at distance 0, and blocks change nothing."""

from itertools import product

import numpy as np
import pytest

from vapray.memorisation.search import NUM_NEIGHBOURS, RunningTopK, feature_distances, pixel_distances
from vapray.memorisation.views import SIDE, VALUES, cores, thumbnails, views

RNG = np.random.default_rng(11)


def pictures(count: int, side: int = SIDE) -> np.ndarray:
    return RNG.integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize("side", [SIDE, 48, 100, 24])
@pytest.mark.parametrize("axes", [(), (0,), (1,), (0, 1)])
def test_a_flip_of_a_training_picture_is_at_distance_0(side: int, axes: tuple[int, ...]) -> None:
    training = pictures(5, side)
    flipped = np.stack([np.flip(picture, axes) for picture in training])
    found = pixel_distances(thumbnails(flipped), cores(thumbnails(training)))
    assert (found.diagonal() == 0).all()
    assert (found[~np.eye(5, dtype=bool)] > 10).all()


@pytest.mark.parametrize(("down", "right"), list(product((-2, 0, 1, 2), (-2, -1, 0, 2))))
def test_a_move_by_two_pixels_at_most_is_at_distance_0(down: int, right: int) -> None:
    wide = pictures(1, SIDE + 6)[0]
    training = wide[3 : 3 + SIDE, 3 : 3 + SIDE]
    moved = wide[3 + down : 3 + down + SIDE, 3 + right : 3 + right + SIDE][::-1]
    assert pixel_distances(moved[None], cores(training[None])) == 0


def test_a_move_by_more_is_not() -> None:
    wide = pictures(1, SIDE + 6)[0]
    assert pixel_distances(wide[None, 3 : 3 + SIDE, 6 : 6 + SIDE], cores(wide[None, 3 : 3 + SIDE, 3 : 3 + SIDE])) > 10


def test_the_training_picture_itself_is_one_of_the_views() -> None:
    picture = pictures(1)
    assert (views(picture)[0] == cores(picture)[0]).all(axis=1).sum() == 1
    assert views(picture).shape == (1, 100, VALUES)


def test_distances_are_those_of_brute_force_to_the_last_bit_whatever_the_blocks() -> None:
    asked, training = pictures(37), cores(pictures(1100))
    whole = pixel_distances(asked, training)
    for row in (0, 15, 16, 36):
        difference = views(asked[row : row + 1])[0][:, None].astype(np.int64) - training[None, :64]
        assert (whole[row, :64] == np.sqrt((difference**2).sum(axis=2).min(axis=0) / VALUES)).all()
    halves = [pixel_distances(asked[rows], training[columns]) for rows, columns in PARTS]
    assert (np.block([halves[:2], halves[2:]]) == whole).all()


PARTS = [(rows, columns) for rows in (slice(5), slice(5, None)) for columns in (slice(1030), slice(1030, None))]


def test_the_nearest_ones_are_those_of_sorting_everything() -> None:
    distances = RNG.random((4, 333))
    keys = [str(number) for number in range(333)]
    found = RunningTopK(4)
    for begin, end in ((0, 1), (1, 40), (40, 45), (45, 333)):
        found.update(distances[:, begin:end], keys[begin:end])
    for row in range(4):
        least = np.sort(distances[row])[:NUM_NEIGHBOURS]
        assert found.nearest(row) == (str(distances[row].argmin()), least[0], pytest.approx(least.mean()))


def test_of_equal_distances_the_first_is_kept_and_few_are_enough() -> None:
    found = RunningTopK(1)
    found.update(np.array([[2.0, 1.0]]), ["a", "b"])
    found.update(np.array([[1.0]]), ["c"])
    assert found.nearest(0) == ("b", 1.0, pytest.approx(4 / 3))
    assert found.nearest(0) != RunningTopK(1).nearest(0)


def test_equal_features_are_at_distance_0_and_others_where_pythagoras_says() -> None:
    training = RNG.normal(100, 1, (50, 96))
    found = feature_distances(training[:7], training)
    assert (found.diagonal() == 0).all()
    assert found[2, 9] == pytest.approx(np.linalg.norm(training[2] - training[9]))
