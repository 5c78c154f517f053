"""Laws of the step-level batching engine, on a real tiny U-ViT with prototypes."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vapray.diffusion.engine import SamplingEngine
from vapray.diffusion.guidance import Guidance, guided_noise
from vapray.diffusion.image_request import ConditioningSpec, ImageRequest, IntermediateLatent
from vapray.diffusion.noise_schedule import NoiseSchedule
from vapray.diffusion.randomness import draw_sampling_noise
from vapray.diffusion.solver import SolverName, solve, solver_plan
from vapray.errors import BackendError
from vapray.models.network_config import UViTConfig
from vapray.models.prototypes import PrototypeOptions
from vapray.models.uvit import UViT, build_uvit

SCHEDULE, SHAPE, WIDTH, LONGEST = NoiseSchedule.scaled_linear(), (4, 8, 8), 12, 40
SOLVERS: tuple[SolverName, ...] = ("dpm_solver_2m", "ddim")


@cache
def network() -> UViT:
    """Untrained, but with every path alive: the prototypes' zero is not."""
    model = build_uvit(
        UViTConfig(
            prototypes=PrototypeOptions(),
            latent_side=8,
            latent_channels=4,
            patch_size=2,
            width=32,
            depth=2,
            num_heads=2,
            num_classes=3,
            context_width=WIDTH,
            max_context=LONGEST,
        ),
        seed=0,
    )
    assert model.prototypes is not None
    torch.nn.init.normal_(model.prototypes.injection.inject.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    return model.eval().requires_grad_(False)


@pytest.fixture(autouse=True)
def one_thread() -> Iterable[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def engine_of(model: Any = None, *, batch_sizes: Sequence[int] = (6,), **options: Any) -> SamplingEngine:
    conditions = ConditioningSpec(num_classes=3, context_width=WIDTH, max_context=LONGEST)
    return SamplingEngine(
        model or network(), SCHEDULE, conditions, latent_shape=SHAPE, batch_sizes=batch_sizes, **options
    )


def image(number: int = 0, length: int = 5, steps: int = 4, **changes: Any) -> ImageRequest:
    context = torch.randn(length, WIDTH, generator=torch.Generator().manual_seed(1000 + number))
    return replace(ImageRequest(number, number % 3, context, steps), **changes)


def results(engine: SamplingEngine, requests: Iterable[ImageRequest]) -> list[Tensor]:
    tickets = [engine.submit(request) for request in requests]
    engine.run_until_idle()
    return [ticket.result(timeout=0) for ticket in tickets]


@torch.no_grad()
def by_the_loop(request: ImageRequest) -> Tensor:
    """The plain way: one image, one call for both halves, no padding."""

    def predict(noisy: Tensor, step_B: Tensor) -> Tensor:
        length = torch.tensor([len(request.context_LD)])
        rows = (noisy, step_B, torch.tensor([request.label]), request.context_LD[None], length)
        return guided_noise(network(), *rows, request.guidance.at(int(step_B[0])))

    plan = solver_plan(SCHEDULE, request.solver, request.num_inference_steps)
    return solve(predict, draw_sampling_noise([request.seed], SHAPE), plan)[0]


class Watched:
    """The network, which notes what it is asked and may do something about it."""

    def __init__(self, then: Callable[[Tensor], None] = lambda step_B: None) -> None:
        self.then = then
        self.shapes: list[tuple[int, int]] = []
        self.steps: list[list[int]] = []
        self.drops: list[int] = []

    def __call__(self, noisy: Tensor, step_B: Tensor, label_B: Tensor, *rest: Tensor, reconstruct: bool = True) -> Any:
        context, _, drop_B = rest
        self.shapes.append((len(noisy), context.shape[1]))
        self.steps.append(step_B.tolist())
        self.drops.append(int(drop_B.sum()))
        self.then(step_B)
        return network()(noisy, step_B, label_B, *rest, reconstruct=reconstruct)


guidances = st.builds(
    Guidance, st.sampled_from([0.0, 1.0, 2.5]), st.sampled_from([None, (200, 700), (1, 300), (1000, 1000)])
)
requests = st.builds(
    lambda seed, length, steps, solver, guidance: image(seed, length, steps, solver=solver, guidance=guidance),
    st.integers(0, 99),
    st.integers(0, LONGEST),
    st.integers(1, 6),
    st.sampled_from(SOLVERS),
    guidances,
)


@settings(max_examples=25, deadline=None)
@given(st.lists(requests, min_size=2, max_size=9), st.randoms(), st.booleans(), st.data())
def test_an_image_is_the_same_bytes_alone_and_among_any_neighbours_in_any_order(asked, shuffler, apart, data) -> None:
    alone = [results(engine_of(split_unconditional=apart), [request])[0] for request in asked]
    order = list(range(len(asked)))
    shuffler.shuffle(order)
    engine, tickets = engine_of(split_unconditional=apart), {}
    for number in order:
        tickets[number] = engine.submit(asked[number])
        for _ in range(data.draw(st.integers(0, 3))):  # late ones join others that are under way
            engine.step()
    engine.run_until_idle()
    for number, expected in enumerate(alone):
        assert torch.equal(tickets[number].result(), expected)


@settings(max_examples=15, deadline=None)
@given(st.lists(requests, min_size=1, max_size=6), st.booleans())
def test_an_image_is_that_of_the_plain_solver_loop(asked, apart) -> None:
    for request, made in zip(asked, results(engine_of(split_unconditional=apart), asked), strict=True):
        torch.testing.assert_close(made, by_the_loop(request), rtol=1e-4, atol=1e-4)


def test_at_the_loops_own_shape_the_bytes_are_the_loops() -> None:
    asked = [image(seed, LONGEST // 2, guidance=Guidance(2.0), solver=solver) for seed, solver in enumerate(SOLVERS)]
    for request, made in zip(asked, results(engine_of(batch_sizes=(2,)), asked), strict=True):
        assert torch.equal(made, by_the_loop(request))


def test_captions_that_leave_no_padding_change_nothing_for_their_neighbours() -> None:
    full = [image(seed, LONGEST) for seed in range(6)]
    expected = results(engine_of(), full[:1])[0]
    assert torch.equal(results(engine_of(), full)[0], expected)


def test_other_batch_sizes_stay_within_a_rounding_error() -> None:
    asked = [image(seed, guidance=Guidance(1.5)) for seed in range(3)]
    fixed, growing = results(engine_of(), asked), results(engine_of(batch_sizes=(8, 2, 4)), asked)
    for one, other in zip(fixed, growing, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


def test_every_call_has_one_of_the_stated_shapes() -> None:
    model = Watched()
    results(engine_of(model), [image(seed, length) for seed, length in enumerate((0, 3, 20, 21, 33, 40))])
    assert set(model.shapes) == {(6, 20), (6, 40)}
    model = Watched()
    results(engine_of(model, batch_sizes=(2, 8)), [image(seed, steps=seed + 1) for seed in range(4)])
    assert [size for size, _ in model.shapes] == [8, 8, 2, 2]


def test_unconditional_rows_that_stand_apart_have_no_room_for_a_caption() -> None:
    asked, model = [image(seed, 20, steps=2, guidance=Guidance(1.0)) for seed in range(6)], Watched()
    results(engine_of(model, split_unconditional=True), asked)
    assert sorted(zip(model.shapes, model.drops, strict=True)) == [((6, 0), 6)] * 2 + [((6, 20), 0)] * 2


def test_bfloat16_is_near_float32() -> None:
    asked = [image(seed, guidance=Guidance(1.5), steps=8) for seed in range(3)]
    full, half = results(engine_of(), asked), results(engine_of(precision="bfloat16"), asked)
    for one, other in zip(full, half, strict=True):
        assert 0 < (one - other).square().mean().sqrt() < 0.02 * one.std()


def test_images_with_other_settings_share_calls() -> None:
    model = Watched()
    asked = [image(0, steps=3), image(1, steps=6, solver="ddim"), image(2, steps=5, guidance=Guidance(2.0))]
    engine = engine_of(model)
    results(engine, asked)
    assert len(model.shapes) == 6  # as many as the longest needs
    stats = engine.stats()
    assert (stats.calls, stats.rows, stats.padded_rows, stats.steps) == (6, 3 + 6 + 10, 36, 14)
    assert (stats.finished, stats.waiting, stats.pending_rows) == (3, 0, 0)
    assert stats.occupancy == 19 / 36


@torch.no_grad()
def test_guidance_in_an_interval_is_the_formula_inside_and_the_condition_outside() -> None:
    request = image(0, 16, steps=10, guidance=Guidance(2.0, (300, 700)))
    steps = solver_plan(SCHEDULE, request.solver, 10).steps
    inside = int(((steps >= 300) & (steps <= 700)).sum())
    assert 0 < inside < 10

    def predict(noisy: Tensor, step_B: Tensor) -> Tensor:
        rows = (noisy, step_B, torch.tensor([request.label]), request.context_LD[None], torch.tensor([16]))
        c, u = (network()(*rows, torch.tensor([drop])).noise_BCHW for drop in (False, True))
        return c + 2.0 * (c - u) if 300 <= step_B.item() <= 700 else c

    engine = engine_of()
    made = results(engine, [request])[0]
    expected = solve(predict, draw_sampling_noise([0], SHAPE), solver_plan(SCHEDULE, request.solver, 10))[0]
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-4)
    assert engine.stats().rows == 10 + inside
    assert not torch.allclose(made, results(engine_of(), [replace(request, guidance=Guidance(2.0))])[0], atol=1e-3)


def test_an_odd_call_takes_one_half_of_an_image_and_the_next_call_the_other() -> None:
    asked = [image(seed, guidance=Guidance(1.0)) for seed in range(3)]
    engine = engine_of(batch_sizes=(3,))
    for request, made in zip(asked, results(engine, asked), strict=True):
        torch.testing.assert_close(made, by_the_loop(request), rtol=1e-4, atol=1e-4)
    assert engine.stats().rows == 3 * 4 * 2
    assert engine.stats().calls == 9  # one image at a time would take 12


def test_pending_rows_fall_by_what_was_computed() -> None:
    engine = engine_of(batch_sizes=(3,))  # odd, so that some images have half an answer
    limited, everywhere = Guidance(1.0, (1, 500)), Guidance(1.0)
    for request in (image(0, steps=6, guidance=limited), image(1, 30, steps=3), image(2, 3, 5, guidance=everywhere)):
        engine.submit(request)
    inside = int((solver_plan(SCHEDULE, "dpm_solver_2m", 6).steps <= 500).sum())
    assert engine.stats().waiting == 3 and engine.stats().pending_rows == 6 + inside + 3 + 10
    while engine.stats().waiting:
        before = engine.stats()
        engine.step()
        now = engine.stats()
        assert now.pending_rows + now.rows == before.pending_rows + before.rows and now.rows > before.rows


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


def test_a_preview_shows_the_clean_estimate_of_every_step() -> None:
    seen: list[IntermediateLatent] = []
    made = results(engine_of(), [image(steps=5, preview=seen.append)])[0]
    assert [(preview.taken, preview.steps) for preview in seen] == [(number, 5) for number in range(1, 6)]
    distances = [float((preview.clean_CHW - made).abs().max()) for preview in seen]
    assert distances[-1] < 1e-6 < distances[0]


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


def test_nobody_starves_while_others_keep_coming() -> None:
    """A lone caption of another length, and a late image among older ones that would fill every call."""
    engine = engine_of(batch_sizes=(4,))
    for seed in range(6):
        engine.submit(image(seed, steps=8, guidance=Guidance(1.0)))
    lone = engine.submit(image(7, 30, steps=8))
    late = engine.submit(image(8, steps=8, guidance=Guidance(1.0)))
    lone_after = late_after = None
    for call in range(1, 400):
        engine.submit(image(10 + call, steps=8, guidance=Guidance(1.0)))
        engine.step()
        lone_after = lone_after or (call if lone.done() else None)
        late_after = late_after or (call if late.done() else None)
        if lone_after and late_after:
            break
    assert lone_after is not None and lone_after <= 8 * 3  # a turn in three calls
    assert late_after is not None and late_after <= (7 * 8 * 2 / 4) * 3 / 2 + 3  # those before it, and the lone one's


def test_threads_may_feed_it_while_it_runs() -> None:
    engine = engine_of()
    own = threading.Thread(target=engine.run_until_closed)
    own.start()
    asked = [image(seed, seed % 20, 1 + seed % 5, guidance=Guidance(seed % 3)) for seed in range(24)]
    with ThreadPoolExecutor(6) as threads:
        made = list(threads.map(lambda request: engine.submit(request).result(timeout=60), asked))
    forever = engine.submit(image(steps=999))
    engine.close()
    own.join(timeout=60)
    assert not own.is_alive() and forever.cancelled()
    for request, latent in zip(asked, made, strict=True):
        assert torch.equal(latent, results(engine_of(), [request])[0])
    with pytest.raises(RuntimeError, match="the engine is closed"):
        engine.submit(image())


def test_threads_may_step_it_side_by_side() -> None:
    engine = engine_of()

    def make(seed: int) -> Tensor:
        ticket = engine.submit(image(seed, steps=3))
        engine.run_until_done([ticket])
        return ticket.result(timeout=0)

    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(make, range(12)))
    expected = results(engine_of(), [image(seed, steps=3) for seed in range(12)])
    assert all(torch.equal(one, other) for one, other in zip(made, expected, strict=True))


def test_an_event_loop_waits_for_a_ticket_and_cancels_it() -> None:
    engine = engine_of()
    own = threading.Thread(target=engine.run_until_closed)
    own.start()

    async def ask() -> Tensor:
        gone = asyncio.wrap_future(engine.submit(image(1, steps=999)))
        kept = asyncio.wrap_future(engine.submit(image(0)))
        gone.cancel()
        return await kept

    made = asyncio.run(ask())
    while engine.stats().waiting:
        time.sleep(0.001)
    engine.close()
    own.join(timeout=60)
    assert engine.stats().cancelled == 1 and torch.equal(made, results(engine_of(), [image(0)])[0])


@pytest.mark.parametrize("sizes", [(), (0, 4)])
def test_batch_sizes_that_hold_nothing_are_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="batch sizes: expected at least one, none below 1"):
        engine_of(batch_sizes=sizes)
