"""What step-level batching gains over one image at a time, and over batching whole requests.

    python -m tests.benchmarks.engine [--images 96] [--repetitions 3] [--call-milliseconds 10]

Everybody gets the same mixed requests: 8 to 50 steps, no guidance, guidance, or guidance in an interval, captions of 12
to 21 tokens. The ways take turns, and medians are taken.

cpu            the demo's U-ViT in float32, one thread
constant cost  a stand-in for the network that sleeps a fixed time for each call, however many rows it has, and answers
               zeros: an accelerator that is not full. All else is real, and so is the time that it takes.

One at a time: the plain solver loop, both halves of guidance in one call, nothing padded.
Request batching: when it is free it starts on what waits, without waiting for more, as many images as fit into 16 rows,
and answers when the batch is done. Two kinds, and each repetition compares with the better of the two:
  equal    the oldest request and those of equal solver, steps, and guidance but for its scale
  longest  the oldest requests, whatever their settings; the batch lasts as long as its longest, short ones idle
Where all settings are equal, request batching leaves nothing to gain but what arrives meanwhile: equal_settings_gain.
Latency: Poisson arrivals at 80 % of what the better kind of request batching got through.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.benchmarks.table import report
from vapray.config import Config
from vapray.diffusion.engine import SamplingEngine
from vapray.diffusion.guidance import Guidance, guided_output
from vapray.diffusion.image_request import ConditioningSpec, ImageRequest
from vapray.diffusion.noise_schedule import NoiseSchedule
from vapray.diffusion.parameterization import Parameterization
from vapray.diffusion.randomness import draw_sampling_noise
from vapray.diffusion.solver import SolverState, advance, solver_plan
from vapray.models.prediction import Denoiser, Prediction
from vapray.training.network import build_network

ROWS, CLASSES, LOAD = 16, 7, 0.8
SHAPE, CONDITIONS = (4, 8, 8), ConditioningSpec(num_classes=CLASSES, context_width=64, max_context=48)
SCHEDULE = NoiseSchedule.scaled_linear()
STEPS = (8, 10, 12, 15, 20, 25, 30, 50)
GUIDANCES = (Guidance(), Guidance(1.0), Guidance(2.5), Guidance(2.5, (100, 800)))


@dataclass(frozen=True)
class ConstantCost:
    """The stand-in: a call takes ``seconds``, and predicts no noise."""

    seconds: float

    def __call__(self, noisy_BCHW: Tensor, *conditions: Tensor | None, **options: Any) -> Prediction:
        """As a ``Denoiser``."""
        time.sleep(self.seconds)
        return Prediction(torch.zeros_like(noisy_BCHW), torch.zeros(len(noisy_BCHW)))


def mixed_requests(
    count: int, seed: int, steps: Sequence[int] = STEPS, guidances: Sequence[Guidance] = GUIDANCES
) -> list[ImageRequest]:
    """Steps, guidance and captions drawn for each."""
    draw = np.random.default_rng(seed)
    return [
        ImageRequest(
            seed=number,
            label=int(draw.integers(CLASSES)),
            context_LD=torch.from_numpy(draw.standard_normal((int(draw.integers(12, 22)), 64), dtype=np.float32)),
            num_inference_steps=int(draw.choice(steps)),
            guidance=guidances[int(draw.integers(len(guidances)))],
        )
        for number in range(count)
    ]


@torch.no_grad()
def run_together(network: Denoiser, requests: Sequence[ImageRequest]) -> list[Tensor]:
    """A batch of whole requests: every call has a row or two for each, until the last is finished."""
    plans = [solver_plan(SCHEDULE, request.solver, request.num_inference_steps) for request in requests]
    start = draw_sampling_noise([request.seed for request in requests], SHAPE)
    states = [SolverState.start(plan, row) for plan, row in zip(plans, start, strict=True)]
    labels = torch.tensor([request.label for request in requests])
    contexts = torch.nn.utils.rnn.pad_sequence([request.context_LD for request in requests], batch_first=True)
    lengths = torch.tensor([len(request.context_LD) for request in requests])
    while going := [number for number, state in enumerate(states) if not state.finished]:
        steps = [1 if state.finished else state.step for state in states]
        excess = [request.guidance.at(step) for request, step in zip(requests, steps, strict=True)]
        latents = torch.stack([state.latent_CHW for state in states])
        output = guided_output(network, latents, torch.tensor(steps), labels, contexts, lengths, torch.tensor(excess))
        moved = advance([states[number] for number in going], output[going], Parameterization(SCHEDULE))
        for number, state in zip(going, moved, strict=True):
            states[number] = state
    return [state.latent_CHW for state in states]


class RequestBatching:
    """Answers whole batches, chosen from what waits; a batch of one is one at a time."""

    def __init__(self, network: Denoiser, choose: Callable[[Sequence[ImageRequest]], list[ImageRequest]]) -> None:
        self._network, self._choose = network, choose
        self._waiting: dict[ImageRequest, Future[Tensor]] = {}

    def submit(self, request: ImageRequest) -> "Future[Tensor]":
        """As the engine's."""
        return self._waiting.setdefault(request, Future())

    def step(self) -> None:
        """One batch."""
        batch = self._choose(list(self._waiting))
        for request, latent in zip(batch, run_together(self._network, batch), strict=True):
            self._waiting.pop(request).set_result(latent)


Way = SamplingEngine | RequestBatching


def engine_of(network: Denoiser) -> SamplingEngine:
    """Ours."""
    return SamplingEngine(network, Parameterization(SCHEDULE), CONDITIONS, latent_shape=SHAPE, batch_sizes=(ROWS,))


def oldest(waiting: Sequence[ImageRequest]) -> list[ImageRequest]:
    """One at a time."""
    return list(waiting[:1])


def equal(waiting: Sequence[ImageRequest]) -> list[ImageRequest]:
    """The oldest, and what may share its whole way."""

    def settings(request: ImageRequest) -> tuple[Any, ...]:
        guidance = request.guidance
        return request.solver, request.num_inference_steps, bool(guidance.excess), guidance.interval

    alike = [request for request in waiting if settings(request) == settings(waiting[0])]
    return alike[: ROWS // 2 if waiting[0].guidance.excess else ROWS]


def longest(waiting: Sequence[ImageRequest]) -> list[ImageRequest]:
    """The oldest, as many as fit."""
    return list(waiting[: ROWS // 2])


def seconds(way: Way, requests: Iterable[ImageRequest]) -> float:
    """Until all of a backlog is answered."""
    tickets = [way.submit(request) for request in requests]
    began = time.perf_counter()
    while not all(ticket.done() for ticket in tickets):
        way.step()
    return time.perf_counter() - began


def p95_latency(way: Way, requests: Sequence[ImageRequest], per_second: float, seed: int) -> float:
    """Seconds from arrival to answer that 95 % stay below."""
    due = np.random.default_rng(seed).exponential(1 / per_second, len(requests)).cumsum()
    answered: dict[int, float] = {}
    tickets: list[Future[Tensor]] = []
    began = time.perf_counter()

    def note(number: int, _: Future[Tensor]) -> None:
        answered[number] = time.perf_counter() - began

    while len(answered) < len(requests):
        while len(tickets) < len(requests) and due[len(tickets)] <= time.perf_counter() - began:
            number = len(tickets)
            tickets.append(way.submit(requests[number]))
            tickets[-1].add_done_callback(partial(note, number))
        if len(answered) < len(tickets):
            way.step()
        else:
            time.sleep(max(0.0, due[len(tickets)] - (time.perf_counter() - began)) if len(tickets) < len(due) else 0)
    return float(np.percentile([answered[number] - due[number] for number in range(len(requests))], 95))


def on_the_cpu(images: int, repetition: int) -> dict[str, float]:
    """Real network, real cost."""
    network = build_network(Config(), num_classes=CLASSES, latent_channels=SHAPE[0], context_width=64)
    network.eval().requires_grad_(False)
    asked = mixed_requests(images, repetition)
    alone = seconds(RequestBatching(network, oldest), asked)
    together = seconds(engine_of(network), asked)
    return {"cpu_vs_one_at_a_time": alone / together, "cpu_images_per_second": images / together}


def at_constant_cost(images: int, repetition: int, call_seconds: float) -> dict[str, float]:
    """Calls cost, rows do not."""
    network = ConstantCost(call_seconds)
    asked = mixed_requests(images, repetition)
    ours = engine_of(network)
    together = seconds(ours, asked)
    batched = {kind: seconds(RequestBatching(network, kind), asked) for kind in (equal, longest)}
    better = min(batched, key=lambda kind: batched[kind])
    rate = LOAD * images / batched[better]
    arriving = mixed_requests(images, 1000 + repetition)
    ways: dict[str, SamplingEngine | RequestBatching] = {"ours": engine_of(network)}
    ways |= {kind.__name__: RequestBatching(network, kind) for kind in batched}
    p95 = {name: p95_latency(way, arriving, rate, repetition) for name, way in ways.items()}
    alike = mixed_requests(images, repetition, steps=(20,), guidances=(Guidance(2.5),))
    return {
        "constant_cost_vs_one_at_a_time": seconds(RequestBatching(network, oldest), asked) / together,
        "constant_cost_vs_request_batching": batched[better] / together,
        "p95_vs_request_batching": p95["ours"] / min(p95["equal"], p95["longest"]),
        "equal_settings_gain": seconds(RequestBatching(network, equal), alike) / seconds(engine_of(network), alike),
        "batch_occupancy": ours.stats().occupancy,
        "images_per_second": images / together,
        "equal_images_per_second": images / batched[equal],
        "longest_images_per_second": images / batched[longest],
        "arrivals_per_second": rate,
        **{f"{name}_p95_seconds": value for name, value in p95.items()},
    }


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--call-milliseconds", type=float, default=10.0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    on_the_cpu(4, 0)  # warms up
    rounds = [
        on_the_cpu(asked.images, number) | at_constant_cost(asked.images, number, asked.call_milliseconds / 1e3)
        for number in range(asked.repetitions)
    ]
    found = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    ratios = {name: found.pop(name) for name in list(found) if "_vs_" in name}
    shapes = {"rows": ROWS, "latent": "4x8x8", "width": 64, "depth": 4, "device": "cpu", "threads": 1}
    report("engine", vars(asked) | shapes | {"steps": list(STEPS), "load": LOAD}, ratios, found)


if __name__ == "__main__":
    main()
