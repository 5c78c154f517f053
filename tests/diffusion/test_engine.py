"""Images of the step-level batching engine: those of the plain loop, whatever shares their calls."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.diffusion.tiny_engine import (
    LONGEST,
    SCHEDULE,
    SHAPE,
    SOLVERS,
    Watched,
    by_the_loop,
    engine_of,
    image,
    network,
    results,
)
from vapray.diffusion.guidance import Guidance
from vapray.diffusion.image_request import IntermediateLatent
from vapray.diffusion.parameterization import Parameterization
from vapray.diffusion.randomness import draw_sampling_noise
from vapray.diffusion.solver import solve, solver_plan

pytestmark = pytest.mark.usefixtures("one_thread")


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


def test_bfloat16_is_near_float32(with_bfloat16_units: None) -> None:
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


def test_an_owner_with_one_image_waits_for_no_other_ones() -> None:
    """A call takes three of 40 guided images of one owner, and each call takes the image of the other owner."""
    engine = engine_of()
    heavy = [engine.submit(image(number, steps=6, guidance=Guidance(2.0), owner="heavy")) for number in range(40)]
    engine.step()
    light = engine.submit(image(50, steps=6, guidance=Guidance(2.0), owner="light"))
    for _ in range(6):
        engine.step()
    assert light.done() and sum(ticket.done() for ticket in heavy) < 3
    engine.run_until_idle()
    assert all(ticket.done() for ticket in heavy)


@torch.no_grad()
def test_guidance_in_an_interval_is_the_formula_inside_and_the_condition_outside() -> None:
    request = image(0, 16, steps=10, guidance=Guidance(2.0, (300, 700)))
    steps = solver_plan(SCHEDULE, request.solver, 10).steps
    inside = int(((steps >= 300) & (steps <= 700)).sum())
    assert 0 < inside < 10

    def predict(noisy: Tensor, step_B: Tensor) -> Tensor:
        rows = (noisy, step_B, torch.tensor([request.label]), request.context_LD[None], torch.tensor([16]))
        c, u = (network()(*rows, torch.tensor([drop])).output_BCHW for drop in (False, True))
        return c + 2.0 * (c - u) if 300 <= step_B.item() <= 700 else c

    engine = engine_of()
    made = results(engine, [request])[0]
    plan = solver_plan(SCHEDULE, request.solver, 10)
    expected = solve(predict, draw_sampling_noise([0], SHAPE), plan, Parameterization(SCHEDULE))[0]
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


def test_a_preview_shows_the_clean_estimate_of_every_step() -> None:
    seen: list[IntermediateLatent] = []
    made = results(engine_of(), [image(steps=5, preview=seen.append)])[0]
    assert [(preview.taken, preview.steps) for preview in seen] == [(number, 5) for number in range(1, 6)]
    distances = [float((preview.clean_CHW - made).abs().max()) for preview in seen]
    assert distances[-1] < 1e-6 < distances[0]
