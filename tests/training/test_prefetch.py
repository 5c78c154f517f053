"""Batches that are prepared ahead are the same batches."""

import gc
import threading
import time

import pytest
import torch

from tests.training.tiny import SPACE, run, tiny_config, tiny_rows, tiny_state
from vapray.errors import DataError
from vapray.training.batches import Batch, Batches
from vapray.training.prefetch import Prefetch

CPU = torch.device("cpu")


class WatchedBatches(Batches):
    """Says which steps were prepared; one of them cannot be."""

    def __init__(self, broken: int = -1) -> None:
        super().__init__(tiny_config(), tiny_rows(), SPACE, rank=0, world=1)
        self.prepared: list[int] = []
        self._broken = broken

    def at(self, step: int) -> Batch:
        self.prepared.append(step)
        if step == self._broken:
            raise DataError(f"step {step}: no such rows")
        return super().at(step)


def prefetch(batches: Batches, ahead: int = 2, end: int = 6) -> Prefetch:
    train = tiny_config(f"train.prefetch={ahead}", f"train.steps={end}").train
    return Prefetch(batches, train, max_tokens=19, device=CPU)


@pytest.mark.parametrize("ahead", [0, 1, 2, 9])
def test_they_are_the_same_in_whatever_order_they_are_asked_for(ahead):
    plain, ahead_of_time = WatchedBatches(), prefetch(WatchedBatches(), ahead)
    for step in (0, 1, 2, 5, 3, 4, 4):
        wanted, (found,) = plain.at(step), ahead_of_time.at(step)
        assert torch.equal(found.clean_BCHW, wanted.clean_BCHW)
        assert torch.equal(found.context_BLD, wanted.context_BLD)
        assert torch.equal(found.draws.noise, wanted.draws.noise)


@pytest.mark.parametrize("ahead", [0, 1, 2, 9])
def test_each_step_is_prepared_once_and_none_behind_the_last(ahead):
    batches = WatchedBatches()
    ahead_of_time = prefetch(batches, ahead)
    for step in range(2, 6):
        ahead_of_time.at(step)
        assert len(batches.prepared) <= step - 1 + ahead
    assert batches.prepared == [2, 3, 4, 5]


def test_an_error_is_raised_where_its_batch_is_asked_for():
    batches = WatchedBatches(broken=1)
    ahead_of_time = prefetch(batches)
    ahead_of_time.at(0)
    deadline = time.monotonic() + 30
    while 2 not in batches.prepared and time.monotonic() < deadline:
        time.sleep(0.01)
    assert batches.prepared == [0, 1, 2]
    with pytest.raises(DataError, match="step 1: no such rows"):
        ahead_of_time.at(1)


def test_its_thread_ends_with_it():
    before = set(threading.enumerate())
    ahead_of_time = prefetch(WatchedBatches())
    ahead_of_time.at(0)
    (thread,) = set(threading.enumerate()) - before
    del ahead_of_time
    gc.collect()
    thread.join(30)
    assert not thread.is_alive()


def test_training_is_bit_equal_with_and_without_and_says_how_long_it_waited():
    weights = []
    for ahead in (0, 2):
        config, curve = tiny_config(f"train.prefetch={ahead}"), []
        state = run(config, tiny_state(config), report=lambda step, point, curve=curve: curve.append(point))
        weights.append(state.to_files()["raw.safetensors"])
        assert all(0 < point["data_wait_share"] < 1 for point in curve)
    assert weights[0] == weights[1]
