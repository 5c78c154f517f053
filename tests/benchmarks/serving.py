"""What HTTP, routing and PNG cost beside the bare engine, and what slow clients cost the others.

    python -m tests.benchmarks.serving CHECKPOINT [--width 256] [--depth 8] [--clients 32] [--images 96]

The same orders, 8 to 50 steps, with and without guidance, captions of the bank, go to both in turns, medians are taken:

bare      the engine and the decoder in one process, one thread, as many orders under way as there are clients
service   `vapray serve`, one sampler with one thread, so many clients that each wait for a picture before the next

The network has random weights of the width asked for (0: the checkpoint's own); what it costs does not hang on them.
solver seconds     CPU time of the sampler's engine thread
overhead           CPU time of all else that serves: proxy, ingress, the sampler's other threads (routing, PNG), less
                   what the same processes take while nobody asks; with_idle counts that too
slow clients       so many others send their request a byte a second meanwhile
light beside heavy the 95th percentile of one client, beside 64 of another key over that alone; with the key of the 64,
                   which is what an engine without turns does; and in an engine whose calls all take as long, beside 200
at N               so many clients at a time; one at a time and in batches of equal settings (of 32) are made in one
                   process, without HTTP, in calls of 1 to 16 rows
"""

import argparse
import concurrent.futures
import contextlib
import json
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch

from tests.benchmarks.serving_load import (
    Order,
    alone,
    beside,
    constant_cost_ratio,
    in_batches,
    mixed_orders,
    percentile,
    served,
)
from tests.benchmarks.table import report
from tests.serve.running import Running, running_service
from vapray.sampling.sampler import Sampler, SamplingSettings
from vapray.sampling.threaded_sampler import ThreadedSampler
from vapray.service.api_keys import add_key
from vapray.store.checkpoint import read_checkpoint, write_checkpoint
from vapray.store.files import FileStore
from vapray.training.network import build_network
from vapray.training.state import save_weights

CONCURRENCY = (1, 2, 4, 8, 32)
HEAVY_CLIENTS, LIGHT_IMAGES, SAME_KEY_IMAGES = 64, 10, 2
SIZES = (1, 2, 4, 8, 16)
"""Rows of a call of the simpler servers."""


def widened(checkpoint: str, folder: Path, width: int, depth: int) -> Path:
    """A copy of a checkpoint whose network has another size, and random weights."""
    contents = read_checkpoint(FileStore(checkpoint), "")
    if width:
        card = json.loads(contents["checkpoint.json"])
        card["config"]["model"] |= {"width": width, "depth": depth, "num_heads": width // 64}
        contents["checkpoint.json"] = json.dumps(card).encode()
        sampler = Sampler.load(checkpoint)
        model = sampler.config.model.model_copy(
            update=card["config"]["model"] | {"prototypes": sampler.config.model.prototypes}
        )
        network = build_network(
            sampler.config.model_copy(update={"model": model}),
            num_classes=len(sampler.class_names),
            latent_channels=sampler.space.channels,
            context_width=sampler.encoder.width,
        )
        contents["ema.safetensors"] = contents["raw.safetensors"] = save_weights(network)
    write_checkpoint(FileStore(str(folder)), "final", {k: v for k, v in contents.items() if k != "manifest.json"})
    return folder / "final"


def bare_seconds(sampler: Sampler, orders: Sequence[Order], under_way: int) -> float:
    """Until all are made, so many at a time."""
    live, began = ThreadedSampler(sampler), time.perf_counter()
    waiting: set[concurrent.futures.Future[Any]] = set()
    for order in orders:
        settings = SamplingSettings(
            num_inference_steps=order["num_inference_steps"], guidance_scale=order["guidance_scale"]
        )
        caption = sampler.bank.draw(0, order["seed"])[0].caption
        waiting.add(live.submit(sampler.requests([0], [caption], [order["seed"]], settings)[0]))
        if len(waiting) == under_way:
            _, waiting = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
    concurrent.futures.wait(waiting)
    return time.perf_counter() - began


def cpu_seconds(service: Running) -> tuple[float, float]:
    """Of the sampler's engine thread, and of all else that serves."""
    (sampler,) = service.replicas("sampler-demo")
    threads = [thread.user_time + thread.system_time for thread in sampler.threads()]
    others = [*service.replicas("ingress"), *service.proxies()]
    rest = sum(sum(process.cpu_times()[:2]) for process in others)
    return max(threads), rest + sum(threads) - max(threads)


def idle_share(service: Running, seconds: float = 15.0) -> float:
    """CPU seconds a second of all but the engine, while nobody asks."""
    before = cpu_seconds(service)[1]
    time.sleep(seconds)
    return (cpu_seconds(service)[1] - before) / seconds


@contextlib.contextmanager
def slow_clients(service: Running, count: int) -> Iterator[None]:
    """So many connections that send a byte a second."""
    parts, ended = urlsplit(service.base), threading.Event()
    message = b"POST /v1/images/generations HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
    clients = [socket.create_connection((parts.hostname, parts.port)) for _ in range(count)]

    def drip() -> None:
        for byte in message + b" " * 900:
            for client in clients:
                with contextlib.suppress(OSError):  # closed by the service, as it should be
                    client.send(bytes([byte]))
            if ended.wait(1):
                return

    threading.Thread(target=drip, daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        for client in clients:
            client.close()


def light_beside_heavy(service: Running, keys: Sequence[str]) -> tuple[float, float]:
    """Ratios of a client's 95th percentile, with a key of its own and with the one of the heavy client."""
    heavy, light = keys
    orders = [{**order, "guidance_scale": 2.5, "num_inference_steps": 20} for order in mixed_orders(LIGHT_IMAGES)]

    def p95(key: str, count: int = LIGHT_IMAGES) -> float:
        return percentile(served(service, orders[:count], 1, key)[1], 95)

    usual = p95(light)
    with beside(service, HEAVY_CLIENTS, heavy):
        return p95(light) / usual, p95(heavy, SAME_KEY_IMAGES) / usual


def by_concurrency(ask: Callable[[Sequence[Order], int], tuple[float, list[float]]], count: int) -> dict[str, float]:
    """Images a second and percentiles of the time of an image."""
    found = {}
    for clients in CONCURRENCY:
        orders = mixed_orders(max(8, min(count, 8 * clients)))
        seconds, latencies = ask(orders, clients)
        found[f"images_per_second_at_{clients}"] = len(orders) / seconds
        found |= {f"p{at}_s_at_{clients}": percentile(latencies, at) for at in (50, 95, 99)}
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    sizes = {"width": 256, "depth": 8, "clients": 32, "images": 96, "repetitions": 3, "slow": 100}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    orders = mixed_orders(asked.images)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = widened(asked.checkpoint, Path(folder), asked.width, asked.depth)
        sampler = Sampler.load(str(checkpoint))
        sample = sampler.config.sample.model_copy(update={"batch_sizes": SIZES})
        simple = Sampler.load(str(checkpoint), sample=sample)
        file = str(Path(folder) / "keys.yaml")
        key, other = (add_key(file, name, ["images"], None) for name in ("heavy", "light"))
        with running_service(Path(folder), checkpoint, evaluator=None, api_keys_file=file) as service:

            def ask(chosen: Sequence[Order], clients: int) -> tuple[float, list[float]]:
                return served(service, chosen, clients, key)

            ask(orders[: asked.clients], asked.clients)
            idle = idle_share(service)
            bare, over_http, usual, beside_slow = [], [], [], []
            solver = overhead = 0.0
            for _ in range(asked.repetitions):
                bare.append(bare_seconds(sampler, orders, asked.clients))
                before = cpu_seconds(service)
                seconds, latencies = ask(orders, asked.clients)
                after = cpu_seconds(service)
                solver, overhead = solver + after[0] - before[0], overhead + after[1] - before[1]
                over_http.append(seconds)
                usual += latencies
                with slow_clients(service, asked.slow):
                    beside_slow += ask(orders, asked.clients)[1]
            own_key, same_key = light_beside_heavy(service, (key, other))
            concurrent_values = by_concurrency(ask, asked.images)
        one, batches = alone(simple, orders[:32]), in_batches(simple, orders[:32], 32)
    count = asked.repetitions * asked.images
    net = overhead - idle * sum(over_http)
    report(
        "serving",
        {**vars(asked), "device": "cpu", "threads": 1},
        {
            "images_per_second_vs_bare": statistics.median(bare) / statistics.median(over_http),
            "overhead_vs_solver": net / solver,
            "overhead_with_idle_vs_solver": overhead / solver,
            "p99_beside_slow_clients": percentile(beside_slow, 99) / percentile(usual, 99),
            "p95_light_beside_heavy": own_key,
            "p95_light_beside_heavy_same_key": same_key,
            "p95_light_beside_heavy_constant_cost": constant_cost_ratio(),
        },
        {
            "images_per_second": asked.images / statistics.median(over_http),
            "bare_images_per_second": asked.images / statistics.median(bare),
            "one_at_a_time_images_per_second": 32 / one,
            "request_batches_images_per_second": 32 / batches,
            "overhead_ms_per_image": 1e3 * net / count,
            "idle_cores": idle,
            "solver_ms_per_image": 1e3 * solver / count,
            "p50_s": percentile(usual, 50),
            "p99_s": percentile(usual, 99),
            **concurrent_values,
        },
    )


if __name__ == "__main__":
    main()
