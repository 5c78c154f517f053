"""Orders of images, and clients that send them; the same orders without a service, as simpler servers make them."""

import concurrent.futures
import http.client
import itertools
import json
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch

from tests.serve.running import Running
from vapray.diffusion.engine import SamplingEngine
from vapray.diffusion.image_request import ConditioningSpec, ImageRequest
from vapray.diffusion.noise_schedule import NoiseSchedule
from vapray.diffusion.parameterization import Parameterization
from vapray.models.prediction import Prediction
from vapray.sampling.sampler import Sampler, SamplingSettings

__all__ = ["Order", "alone", "beside", "constant_cost_ratio", "in_batches", "mixed_orders", "percentile", "served"]

Order = dict[str, Any]
STEPS = (8, 10, 12, 15, 20, 25, 30, 50)
GUIDANCES = (0.0, 1.0, 2.5)
CALL_SECONDS = 0.005


def mixed_orders(count: int) -> list[Order]:
    """Settings drawn for each."""
    draw = np.random.default_rng(0)
    return [
        {
            "bank": "draw",
            "label": 0,
            "seed": number,
            "num_inference_steps": int(draw.choice(STEPS)),
            "guidance_scale": float(draw.choice(GUIDANCES)),
        }
        for number in range(count)
    ]


def served(service: Running, orders: Sequence[Order], clients: int, key: str = "") -> tuple[float, list[float]]:
    """Seconds until all are answered, and each request's own."""
    left, lock = iter(orders), threading.Lock()
    latencies: list[float] = []
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}

    def client() -> None:
        parts = urlsplit(service.base)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=600)
        while True:
            with lock:
                order = next(left, None)
            if order is None:
                return
            began = time.perf_counter()
            connection.request("POST", "/v1/images/generations", json.dumps(order), headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
            latencies.append(time.perf_counter() - began)

    began = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        for ended in [pool.submit(client) for _ in range(clients)]:
            ended.result()
    return time.perf_counter() - began, latencies


@contextmanager
def beside(service: Running, clients: int, key: str) -> Iterator[None]:
    """So many clients of a key that always have an order of 20 guided steps under way."""
    ended = threading.Event()
    order = {"bank": "draw", "label": 0, "num_inference_steps": 20, "guidance_scale": 2.5}

    def orders() -> Iterator[Order]:
        for seed in itertools.count():
            if ended.is_set():
                return
            yield {**order, "seed": seed}

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(served, service, orders(), clients, key)  # type: ignore[arg-type]
        time.sleep(5)
        try:
            yield
        finally:
            ended.set()
            running.result()


def alone(sampler: Sampler, orders: Sequence[Order]) -> float:
    """Seconds for one image after the other, each with calls of its own."""
    return _seconds(sampler, [[order] for order in orders])


def in_batches(sampler: Sampler, orders: Sequence[Order], clients: int) -> float:
    """Seconds for batches of equal steps and guidance among the orders of so many clients, a batch after the other."""
    batches: list[list[Order]] = []
    for start in range(0, len(orders), clients):
        groups: dict[tuple[int, float], list[Order]] = {}
        for order in orders[start : start + clients]:
            groups.setdefault((order["num_inference_steps"], order["guidance_scale"]), []).append(order)
        batches += groups.values()
    return _seconds(sampler, batches)


def _seconds(sampler: Sampler, batches: Sequence[Sequence[Order]]) -> float:
    began = time.perf_counter()
    for batch in batches:
        first = batch[0]
        settings = SamplingSettings(
            num_inference_steps=first["num_inference_steps"], guidance_scale=first["guidance_scale"]
        )
        for image in sampler.generate(0, seed=first["seed"], n=len(batch), settings=settings):
            image.to_png()
    return time.perf_counter() - began


def constant_cost_ratio(heavy: int = 200, repetitions: int = 20) -> float:
    """95th percentile of an image's time beside so many of another owner, over that alone; each call takes as long."""

    def network(noisy_BCHW: torch.Tensor, *_: Any, **__: Any) -> Prediction:
        time.sleep(CALL_SECONDS)
        return Prediction(torch.zeros_like(noisy_BCHW), noisy_BCHW.new_zeros(len(noisy_BCHW)))

    def request(owner: str, seed: int) -> ImageRequest:
        return ImageRequest(seed, 0, torch.zeros(4, 8), 20, owner=owner)

    def times(others: int) -> list[float]:
        conditions = ConditioningSpec(num_classes=1, context_width=8, max_context=8)
        engine = SamplingEngine(
            network, Parameterization(NoiseSchedule.scaled_linear()), conditions, latent_shape=(4, 8, 8)
        )
        found = []
        for repetition in range(repetitions):
            tickets = [engine.submit(request("heavy", seed)) for seed in range(others)]
            began = time.perf_counter()
            light = engine.submit(request("light", repetition))
            engine.run_until_done([light])
            found.append(time.perf_counter() - began)
            for ticket in tickets:
                ticket.cancel()
            engine.run_until_idle()
        return found

    return percentile(times(heavy), 95) / percentile(times(0), 95)


def percentile(values: Sequence[float], percent: float) -> float:
    """Percentile of a list of seconds."""
    return float(np.percentile(values, percent)) if len(values) > 1 else statistics.fmean(values)
