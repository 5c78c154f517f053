"""Validation and checkpoints beside training: steps go on, order and results are as if they had waited."""

import json
import threading
import time

import pytest
import torch

from tests.training.tiny import run, tiny_config, tiny_state
from vapray.errors import DataError
from vapray.store.checkpoint import load_latest_training_state, save_training_state
from vapray.store.files import FileStore
from vapray.training.state import save_weights

SECONDS = 30


def distance_of(network) -> float:
    """A deterministic judgement of weights."""
    return float(sum(weight.double().abs().sum() for weight in network.parameters())) % 1.0


def test_steps_go_on_while_a_checkpoint_is_written():
    reached, written = threading.Event(), []

    def save(step, files):
        if step == 2:
            assert reached.wait(SECONDS), "training waited for its checkpoint"
        written.append((step, json.loads(files["state.json"])["step"]))

    config = tiny_config("train.checkpoint_every=2")
    run(config, tiny_state(config), save=save, report=lambda step, point: reached.set() if step == 4 else None)
    assert written == [(2, 2), (4, 4), (6, 6)]


def test_a_checkpoint_holds_the_step_it_was_asked_at():
    config = tiny_config("train.checkpoint_every=3")
    reached, slow, quick = threading.Event(), {}, {}

    def save(step, files):
        assert step != 3 or reached.wait(SECONDS)
        slow[step] = files

    run(config, tiny_state(config), save=save, report=lambda step, point: reached.set() if step == 5 else None)
    run(tiny_config("train.checkpoint_every=3"), tiny_state(config), save=quick.__setitem__)
    for name in ("raw.safetensors", "ema.safetensors"):
        assert slow[3][name] == quick[3][name] != slow[6][name]
    assert [point["step"] for point in json.loads(slow[3]["state.json"])["curve"]] == [1, 2, 3]


def test_the_next_checkpoint_waits_for_the_one_under_way():
    config, ahead = tiny_config("train.checkpoint_every=1"), []
    state = tiny_state(config)

    def save(step, _):
        deadline = time.monotonic() + SECONDS
        while state.step == step < config.train.steps and time.monotonic() < deadline:
            time.sleep(0.1)  # and so long more, in which training could go further
        ahead.append(state.step - step)

    run(config, state, save=save)
    assert ahead == [1, 1, 1, 1, 1, 0]


def test_a_checkpoint_that_fails_is_told_at_the_next_one_and_the_one_before_stays(tmp_path):
    files, tried = FileStore(str(tmp_path)), []

    def save(step, contents):
        tried.append(step)
        if step == 4:
            raise DataError("no space left")
        save_training_state(files, "steps", step, contents, keep=2)

    config = tiny_config("train.checkpoint_every=2", "train.steps=20")
    state = tiny_state(config)
    with pytest.raises(DataError, match="no space left"):
        run(config, state, save=save)
    assert 4 in tried
    assert state.step <= 8, "the failure was not noticed when the next checkpoint was due"
    newest = load_latest_training_state(files, "steps", pytest.fail)
    assert json.loads(newest["state.json"])["step"] in (2, 6)


def test_the_last_checkpoint_that_fails_is_told_too():
    def save(step, files):
        if step == 6:
            raise DataError("no space left")

    config = tiny_config("train.checkpoint_every=6")
    with pytest.raises(DataError, match="no space left"):
        run(config, tiny_state(config), save=save)


def test_steps_go_on_while_a_validation_runs_and_the_last_checkpoint_waits_for_it():
    reached, saved = threading.Event(), {}

    def validate(network):
        assert reached.wait(SECONDS), "training waited for its validation"
        return distance_of(network)

    config = tiny_config("train.validate_every=3", "train.checkpoint_every=6")
    run(
        config,
        tiny_state(config),
        validate=validate,
        save=saved.__setitem__,
        report=lambda step, point: reached.set() if step == 5 else None,
    )
    assert [step for step, _ in json.loads(saved[6]["state.json"])["validations"]] == [3, 6]


def test_which_weights_are_best_does_not_depend_on_how_long_validation_takes():
    config, outcomes, seen = tiny_config("train.validate_every=1", "train.checkpoint_every=2"), [], {}
    for seconds in (0.0, 0.05):
        saved = {}

        def validate(network, seconds=seconds):
            threading.Event().wait(seconds)
            seen[distance_of(network)] = save_weights(network)
            return distance_of(network)

        state = run(config, tiny_state(config), validate=validate, save=saved.__setitem__)
        assert state.best == seen[min(distance for _, distance in state.validations)]
        cards = {step: json.loads(files["state.json"])["validations"] for step, files in saved.items()}
        outcomes.append((cards, {step: files["best.safetensors"] for step, files in saved.items()}))
    assert outcomes[0] == outcomes[1]
    assert [len(card) for card in outcomes[0][0].values()] == [2, 4, 6]


def test_the_best_weights_survive_rotation(tmp_path):
    files, distances = FileStore(str(tmp_path)), iter([3.0, 1.0, 2.0, 4.0, 5.0, 6.0])
    config, seen = tiny_config("train.validate_every=1", "train.checkpoint_every=1"), []

    def validate(network):
        seen.append(save_weights(network))
        return next(distances)

    run(
        config,
        tiny_state(config),
        validate=validate,
        save=lambda step, contents: save_training_state(files, "steps", step, contents, keep=1),
    )
    assert files.names("steps") == ["step-00000006"]
    newest = load_latest_training_state(files, "steps", pytest.fail)
    assert newest["best.safetensors"] == seen[1] != newest["ema.safetensors"]


def test_a_validation_that_fails_ends_training():
    def validate(network):
        raise DataError("a picture is gone")

    config = tiny_config("train.validate_every=2", "train.steps=40")
    state = tiny_state(config)
    with pytest.raises(DataError, match="a picture is gone"):
        run(config, state, validate=validate)
    assert state.step < 40


def test_a_checkpoint_that_was_asked_for_is_confirmed_once_it_is_written():
    config, asked, order = tiny_config("train.checkpoint_every=100"), iter([False, False, True]), []
    run(
        config,
        tiny_state(config),
        save=lambda step, files: order.append(("written", step)),
        checkpoint_requested=lambda: next(asked, False),
        confirm_checkpoint=lambda step: order.append(("told", step)),
    )
    assert order == [("written", 3), ("told", 3), ("written", 6)]


def test_the_background_computes_with_as_many_threads_as_training(one_thread):
    config, threads = tiny_config("train.validate_every=6"), []
    run(config, tiny_state(config), validate=lambda network: threads.append(torch.get_num_threads()) or 1.0)
    assert threads == [1]


def test_a_run_that_is_ended_does_not_wait_for_its_validation_and_makes_up_for_it(tmp_path):
    config = tiny_config("train.validate_every=2", "train.checkpoint_every=100")
    whole = run(config, tiny_state(config), validate=distance_of)
    released, asked, saved = threading.Event(), iter([False, False, True]), {}

    def validate(network):
        assert released.wait(SECONDS), "the checkpoint waited for the validation"
        return distance_of(network)

    def save(step, files):
        saved[step] = files
        released.set()

    run(config, tiny_state(config), validate=validate, save=save, checkpoint_requested=lambda: next(asked, False))
    card = json.loads(saved[3]["state.json"])
    assert (card["step"], card["pending"], card["validations"]) == (3, 2, [])
    resumed = tiny_state(config)
    resumed.restore(saved[3])
    files = run(config, resumed, validate=distance_of).to_files()
    assert resumed.validations == whole.validations
    assert resumed.best == whole.best
    assert "pending.safetensors" not in files
    assert files["raw.safetensors"] == whole.to_files()["raw.safetensors"]


@pytest.mark.parametrize("checkpoint_every", [1, 100])
def test_a_run_is_ended_while_one_validation_waits_for_another(checkpoint_every):
    """The steps of a validation come faster than it ends, and then the run is told to end."""
    config = tiny_config("train.validate_every=2", f"train.checkpoint_every={checkpoint_every}")
    whole = run(tiny_config("train.validate_every=2"), tiny_state(config), validate=distance_of)
    state, saved, ended = tiny_state(config), {}, threading.Event()

    def validate(network):
        assert ended.wait(SECONDS), "the checkpoint waited for the validation"
        return distance_of(network)

    def confirm_checkpoint(step):
        ended.set()
        raise KeyboardInterrupt

    asked = lambda: state.step == 4  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        run(
            config,
            state,
            validate=validate,
            save=saved.__setitem__,
            checkpoint_requested=asked,
            confirm_checkpoint=confirm_checkpoint,
        )
    card = json.loads(saved[4]["state.json"])
    assert (card["step"], card["pending"], card["validations"]) == (4, 2, [])
    resumed = tiny_state(config)
    resumed.restore(saved[4])
    run(config, resumed, validate=distance_of)
    assert resumed.validations == whole.validations
    assert resumed.best == whole.best


def test_a_checkpoint_that_has_not_begun_gives_way_to_the_one_that_was_asked_for():
    config = tiny_config("train.validate_every=2", "train.checkpoint_every=2", "train.steps=7")
    released, asked, saved = threading.Event(), iter([False, False, True]), []

    def save(step, files):
        saved.append(step)
        released.set()

    def validate(network):
        return float(released.wait(SECONDS))

    run(config, tiny_state(config), validate=validate, save=save, checkpoint_requested=lambda: next(asked, False))
    assert saved == [3, 4, 6, 7]
