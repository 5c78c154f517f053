"""Validation in the training loop: the best average is kept, and training is as it was without."""

import pytest
import torch

from tests.training.tiny import run, tiny_config, tiny_state
from vapray.training.state import save_weights

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_average_nearest_to_the_validation_split_is_kept():
    config = tiny_config("train.validate_every=2")
    distances, seen = iter([3.0, 1.0, 2.0]), {}

    def validate(network):
        seen[len(seen)] = save_weights(network)
        return next(distances)

    state = run(config, tiny_state(config), validate=validate)
    assert state.validations == [(2, 3.0), (4, 1.0), (6, 2.0)]
    assert state.best == seen[1]
    assert state.to_files()["best.safetensors"] == seen[1] != state.to_files()["ema.safetensors"]


def test_the_best_average_survives_a_restart():
    config = tiny_config("train.validate_every=2")
    saved = {}
    first = iter([1.0, 2.0, 3.0])
    whole = run(config, tiny_state(config), validate=lambda network: next(first), save=saved.__setitem__)
    resumed = tiny_state(config)
    resumed.restore(saved[4])
    run(config, resumed, validate=lambda network: 3.0)
    assert resumed.validations == [tuple(pair) for pair in whole.validations] == [(2, 1.0), (4, 2.0), (6, 3.0)]
    assert resumed.best == whole.best


def test_validating_changes_nothing_in_training():
    plain, watched = tiny_config("train.validate_every=0"), tiny_config("train.validate_every=1")
    without = run(plain, tiny_state(plain)).to_files()["raw.safetensors"]

    def validate(network):
        torch.rand(7)
        return 1.0

    assert run(watched, tiny_state(watched), validate=validate).to_files()["raw.safetensors"] == without
