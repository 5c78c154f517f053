"""Losses, gradients and weights that are not finite: skipped a few times, never saved."""

import io

import pytest
import torch
from safetensors.torch import load as load_safetensors

from tests.training.tiny import run, tiny_config, tiny_state
from vapray.errors import TrainingDivergedError
from vapray.training.batches import Batches
from vapray.training.optimizer import ema_decay

pytestmark = pytest.mark.usefixtures("one_thread")


class _BrokenLatents:
    """Rows whose latents cannot be normalized to anything finite at some steps."""

    def __init__(self, monkeypatch, steps: set[int]) -> None:
        self.met: list[int] = []
        original = Batches.at

        def at(batches, step):
            batch = original(batches, step)
            if step in steps:
                self.met.append(step)
                batch.clean_BCHW[0, 0, 0, 0] = float("inf")
            return batch

        monkeypatch.setattr(Batches, "at", at)


def test_a_step_with_a_gradient_that_is_not_finite_is_skipped(monkeypatch):
    config = tiny_config()
    faults = _BrokenLatents(monkeypatch, {2, 3})
    after, points = tiny_state(config), []
    run(tiny_config("train.steps=4"), after, report=lambda step, point: points.append(step))
    assert faults.met == [2, 3]
    assert (after.step, after.skipped, after.skipped_in_a_row) == (4, 2, 2)
    assert points == [1, 2]
    run(config, after)
    assert (after.step, after.skipped, after.skipped_in_a_row) == (6, 2, 0)


def optimiser_of(files) -> dict[tuple[int, str], torch.Tensor]:
    saved = torch.load(io.BytesIO(files["optimiser.pt"]), weights_only=True)
    parts = [saved] if "state" in saved else [saved["adamw"], saved["muon"]]
    return {
        (number, place, name): value
        for number, part in enumerate(parts)
        for place, values in part["state"].items()
        for name, value in values.items()
    }


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_skipped_steps_change_no_weight_and_no_moment(monkeypatch, kind):
    changes = ("train.lr_schedule=constant", f"train.optimizer={kind}", "train.muon_weight_decay=0.01")
    config = tiny_config("train.steps=3", *changes)
    whole = run(config, tiny_state(config)).to_files()
    faults = _BrokenLatents(monkeypatch, {3, 4, 5})
    longer = tiny_config(*changes)
    longer_state = tiny_state(longer)
    files = run(longer, longer_state).to_files()
    assert faults.met == [3, 4, 5]
    assert files["raw.safetensors"] == whole["raw.safetensors"]
    assert longer_state.skipped == 3
    for name, moments in optimiser_of(files).items():
        torch.testing.assert_close(moments, optimiser_of(whole)[name], rtol=0, atol=0)
    raw, after = (load_safetensors(files[name]) for name in ("raw.safetensors", "ema.safetensors"))
    before = load_safetensors(whole["ema.safetensors"])
    for step in (3, 4, 5):  # the average goes on towards the weights, which stay
        decay = ema_decay(step, longer.train.ema_decay)
        before = {name: torch.lerp(old, raw[name], 1 - decay) for name, old in before.items()}
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


def test_too_many_skipped_steps_in_a_row_stop_training(monkeypatch):
    faults = _BrokenLatents(monkeypatch, set(range(2, 100)))
    config = tiny_config("train.steps=50", "train.max_skipped_steps=3", "train.checkpoint_every=1", "train.prefetch=0")
    saved = {}
    with pytest.raises(TrainingDivergedError, match="4 steps in a row, up to step 5, are not finite"):
        run(config, tiny_state(config), save=saved.__setitem__)
    assert faults.met == [2, 3, 4, 5]
    assert max(saved) == 5
    for files in saved.values():
        assert all(weight.isfinite().all() for weight in load_safetensors(files["ema.safetensors"]).values())


def test_weights_that_are_not_finite_are_never_saved():
    config = tiny_config()
    state = tiny_state(config)
    with torch.no_grad():
        state.ema.position[0, 0] = float("inf")
    with pytest.raises(TrainingDivergedError, match="position is not finite after step 0"):
        state.to_files()
