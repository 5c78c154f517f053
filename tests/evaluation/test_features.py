"""Laws of the embedded feature extractor."""

import numpy as np
import pytest
import torch

from vapray.errors import ConfigError, DataError
from vapray.evaluation.features import RandomConvolutions, extractor_names, load_extractor, register_extractor

from .pictures import scenes

PUBLISHED_SHA256 = "4c46bd9cb5bfaf9577dab4e7f249de424cc85380cb704ec8a52df7fb71047171"


def test_the_weights_are_those_that_recorded_numbers_rest_on() -> None:
    assert RandomConvolutions().space.sha256 == PUBLISHED_SHA256


def test_features_depend_neither_on_batch_size_nor_on_torch_s_random_state() -> None:
    images, _ = scenes(9, 0)
    torch.manual_seed(1)
    together = RandomConvolutions()(images)
    torch.manual_seed(2)
    apart = RandomConvolutions(batch_images=2)(images)
    assert together.shape == (9, RandomConvolutions().space.width)
    np.testing.assert_allclose(together, apart, rtol=1e-5, atol=1e-6)


def test_another_seed_is_another_extractor() -> None:
    images, _ = scenes(2, 0)
    first, second = RandomConvolutions(0), RandomConvolutions(1)
    assert first.space.sha256 != second.space.sha256
    assert not np.allclose(first(images), second(images))


@pytest.mark.parametrize("change", ["colour", "texture", "layout"])
def test_colour_texture_and_layout_each_move_the_features(change: str) -> None:
    images, _ = scenes(64, 0)
    rng = np.random.default_rng(0)
    changed = {
        "colour": images[..., ::-1],
        "texture": rng.permuted(images.reshape(64, -1, 3), axis=1).reshape(images.shape),
        "layout": np.roll(images, 16, axis=2),
    }[change].copy()
    extractor = RandomConvolutions()
    before, after, other = extractor(images), extractor(changed), extractor(scenes(64, 1)[0])
    spread = before.std(axis=0)
    shift = np.abs((after - before).mean(axis=0) / spread).max()
    assert shift > 3 * np.abs((other.mean(axis=0) - before.mean(axis=0)) / spread).max()


def test_no_images_give_no_rows() -> None:
    assert RandomConvolutions()(np.zeros((0, 32, 32, 3), np.uint8)).shape == (0, RandomConvolutions().space.width)


def test_pictures_of_another_type_are_refused() -> None:
    with pytest.raises(DataError, match="uint8"):
        RandomConvolutions()(np.zeros((2, 8, 8, 3), np.float32))


def test_an_unknown_extractor_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="Did you mean random_convolutions"):
        load_extractor("random_convolution")


def test_a_registered_extractor_is_built_with_its_options() -> None:
    register_extractor("coarse", lambda resize: RandomConvolutions(resize=resize))
    assert "coarse" in extractor_names()
    assert load_extractor("coarse", resize=16).space.resize == 16
