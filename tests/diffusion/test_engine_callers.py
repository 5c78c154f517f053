"""Many callers of one engine: nobody starves; threads and event loops feed it and step it."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from tests.diffusion.tiny_engine import engine_of, image, results
from vapray.diffusion.guidance import Guidance

pytestmark = pytest.mark.usefixtures("one_thread")


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
