"""Laws of the class-mean floor."""

import numpy as np
import pytest

from vapray.errors import DataError
from vapray.evaluation.baselines import class_mean_images

from .pictures import scenes


def test_counts_labels_and_seed_are_obeyed() -> None:
    images, labels = scenes(50, 0)
    counts = {4: 3, 0: 2, 1: 0}
    made, owners = class_mean_images(images, labels, counts, np.random.default_rng(0))
    again, _ = class_mean_images(images, labels, counts, np.random.default_rng(0))
    assert made.shape == (5, 32, 32, 3)
    assert made.dtype == np.uint8
    assert owners.tolist() == [0, 0, 4, 4, 4]
    np.testing.assert_array_equal(made, again)


def test_mean_and_deviation_at_each_pixel_are_those_of_the_class() -> None:
    rng = np.random.default_rng(0)
    images = np.clip(rng.normal([[[90, 128, 170]]], [[[5, 15, 25]]], (400, 4, 4, 3)), 0, 255).astype(np.uint8)
    made, _ = class_mean_images(images, np.zeros(400, int), {0: 4000}, rng)
    np.testing.assert_allclose(made.mean(axis=0), images.mean(axis=0), atol=2.5)
    np.testing.assert_allclose(made.std(axis=0), images.std(axis=0), rtol=0.1)


def test_a_class_without_training_images_is_refused() -> None:
    images, labels = scenes(10, 0)
    with pytest.raises(DataError, match="class 9"):
        class_mean_images(images, labels, {9: 1}, np.random.default_rng(0))
