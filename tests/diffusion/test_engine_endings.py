"""Requests that the engine refuses, gives up or fails: each ends alone, and in time."""

import time
from concurrent.futures import CancelledError, Future, wait

import pytest
import torch
from torch import Tensor

from tests.diffusion.tiny_engine import SCHEDULE, WIDTH, Watched, engine_of, image, results
from vapray.diffusion.guidance import Guidance
from vapray.diffusion.image_request import IntermediateLatent
from vapray.diffusion.solver import solver_plan
from vapray.errors import BackendError

pytestmark = pytest.mark.usefixtures("one_thread")


def test_cancelling_stops_an_image_within_one_step_and_gives_its_rows_away() -> None:
    model = Watched()
    engine = engine_of(model, batch_sizes=(2,))
    first, second = (engine.submit(image(seed, steps=5, guidance=Guidance(1.0))) for seed in range(2))
    assert engine.step() == [] and engine.step() == []
    assert engine.stats().pending_rows == 6 + 10
    assert first.cancel()
    assert engine.stats().pending_rows == 10
    assert engine.step() == [first]
    assert engine.stats().pending_rows == 8  # the very next call is the second image's
    engine.run_until_idle()
    alone = results(engine_of(batch_sizes=(2,)), [image(1, steps=5, guidance=Guidance(1.0))])[0]
    assert torch.equal(second.result(), alone)
    assert engine.stats().cancelled == 1 and engine.stats().rows == 4 + 10
    with pytest.raises(CancelledError):
        first.result()


def test_cancelling_during_a_call_stops_before_the_next() -> None:
    tickets: list[Future[Tensor]] = []
    model = Watched(lambda step_B: tickets[0].cancel() and None)
    engine = engine_of(model)
    tickets.append(engine.submit(image(steps=9)))
    engine.run_until_idle()
    assert len(model.shapes) == 1 and tickets[0].cancelled()
    assert wait(tickets, timeout=5).done == {tickets[0]}


def test_a_deadline_ends_an_image_between_two_steps() -> None:
    shown: list[int] = []
    slow = Watched(lambda step_B: time.sleep(0.02))
    engine = engine_of(slow)
    late = engine.submit(
        image(0, steps=500, deadline=time.monotonic() + 0.1, preview=lambda preview: shown.append(preview.taken))
    )
    never = engine.submit(image(1, 20, deadline=time.monotonic() - 1))
    other = engine.submit(image(2, steps=30))
    engine.run_until_idle()
    with pytest.raises(TimeoutError, match=f"class 0 with seed 0: its deadline passed after {shown[-1]} of 500 steps"):
        late.result()
    with pytest.raises(TimeoutError, match="after 0 of 4 steps"):
        never.result()
    assert 1 <= shown[-1] < 500 and other.result().isfinite().all()
    assert (engine.stats().failed, engine.stats().finished) == (2, 1)


def test_a_request_that_the_network_cannot_take_is_refused_alone() -> None:
    engine = engine_of()
    good = engine.submit(image(0))
    wrong = {
        "expected a context of up to 40 tokens x 12, got \\(41, 12\\)": image(1, 41),
        "x 12, got \\(5, 13\\)": image(1, context_LD=torch.zeros(5, 13)),
        "x 12, got \\(12,\\)": image(1, context_LD=torch.zeros(12)),
        "expected a context of floats": image(1, context_LD=torch.zeros(5, 12, dtype=torch.int64)),
        "class 3 with seed 1: expected a class in 0..2": image(1, label=3),
        "seed 18446744073709551616: expected a seed in": image(1, seed=2**64),
        "inference steps: expected 1..999, got 0": image(1, steps=0),
        "solver: expected one of": image(1, solver="euler"),
    }
    for message, request in wrong.items():
        with pytest.raises(ValueError, match=message):
            engine.submit(request)
    engine.run_until_idle()
    assert torch.equal(good.result(), results(engine_of(), [image(0)])[0]) and engine.stats().finished == 1


def test_one_that_fails_on_its_way_fails_alone() -> None:
    def refuse(preview: IntermediateLatent) -> None:
        if preview.taken == 2:
            raise KeyError("nobody looks")

    poisoned = torch.full((5, WIDTH), float("nan"))
    engine = engine_of()
    good, shown, spoilt, other = (
        engine.submit(request)
        for request in (image(0), image(1, preview=refuse), image(2, context_LD=poisoned), image(3))
    )
    engine.run_until_idle()
    with pytest.raises(KeyError, match="nobody looks"):
        shown.result()
    with pytest.raises(BackendError, match="image of class 2 with seed 2: the network's output is not finite"):
        spoilt.result()
    expected = results(engine_of(), [image(0), image(3)])
    assert torch.equal(good.result(), expected[0]) and torch.equal(other.result(), expected[1])
    assert engine.stats().failed == 2


def test_a_call_that_fails_for_one_is_made_again_for_each() -> None:
    broken = set(solver_plan(SCHEDULE, "ddim", 7).steps.tolist()) - {1000}

    def refuse(step_B: Tensor) -> None:
        if broken & set(step_B.tolist()):
            raise RuntimeError("cannot take this step")

    model = Watched(refuse)
    engine = engine_of(model)
    bad = engine.submit(image(0, steps=7, solver="ddim"))
    good = [engine.submit(image(seed, steps=4, guidance=Guidance(1.0))) for seed in (1, 2)]
    engine.run_until_idle()
    with pytest.raises(RuntimeError, match="cannot take this step"):
        bad.result()
    expected = results(engine_of(), [image(seed, steps=4, guidance=Guidance(1.0)) for seed in (1, 2)])
    assert all(torch.equal(ticket.result(), one) for ticket, one in zip(good, expected, strict=True))
    assert len(model.shapes) == 1 + (1 + 3) + 2  # the second call, and then three in its place


def test_an_engine_that_is_interrupted_leaves_nobody_waiting() -> None:
    def interrupt(step_B: Tensor) -> None:
        raise KeyboardInterrupt

    engine = engine_of(Watched(interrupt))
    ticket = engine.submit(image())
    with pytest.raises(KeyboardInterrupt):
        engine.step()
    with pytest.raises(BackendError, match="the engine stopped"):
        ticket.result(timeout=0)
    assert engine.stats().waiting == 0


@pytest.mark.parametrize("sizes", [(), (0, 4)])
def test_batch_sizes_that_hold_nothing_are_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="batch sizes: expected at least one, none below 1"):
        engine_of(batch_sizes=sizes)
