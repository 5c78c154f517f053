"""Prometheus metrics of a sampler replica, exported by Ray on each node."""

import threading
import time
from typing import TypeVar

from ray.util.metrics import Counter, Gauge

from vapray.diffusion.engine_stats import COUNTED, EngineStats
from vapray.sampling.live import LiveSampler

__all__ = ["SamplerMetrics"]

DESCRIPTIONS = {
    "calls": "Network calls.",
    "rows": "Network rows of images.",
    "padded_rows": "Network rows computed, including padding; rows / padded_rows is the batch occupancy.",
    "steps": "Solver steps of all images.",
    "finished": "Images finished.",
    "failed": "Images failed, including missed deadlines.",
    "cancelled": "Images cancelled because the client disconnected or the request failed.",
}
GAUGES = {"waiting": "Images not finished yet.", "pending_rows": "Network rows until all images are finished."}
INTERVAL_SECONDS = 1.0
Metric = TypeVar("Metric", Counter, Gauge)


class SamplerMetrics:
    """Thread that exports engine statistics once a second.

    Args:
        live: Sampler whose engines are measured.
        model: Value of the tag ``model``.
    """

    def __init__(self, live: LiveSampler, model: str) -> None:
        self._live = live
        self._exported = dict.fromkeys(COUNTED, 0)
        self._counters = {name: _tagged(Counter, name, text, model) for name, text in DESCRIPTIONS.items()}
        self._gauges = {name: _tagged(Gauge, name, text, model) for name, text in GAUGES.items()}
        threading.Thread(target=self._run, name="sampler metrics", daemon=True).start()

    def _run(self) -> None:
        while True:
            self._export(list(self._live.stats().values()))
            time.sleep(INTERVAL_SECONDS)

    def _export(self, engines: list[EngineStats]) -> None:
        for name, counter in self._counters.items():
            total = sum(getattr(stats, name) for stats in engines)
            if total > self._exported[name]:
                counter.inc(total - self._exported[name])
                self._exported[name] = total
        for name, gauge in self._gauges.items():
            gauge.set(sum(getattr(stats, name) for stats in engines))


def _tagged(kind: type[Metric], name: str, description: str, model: str) -> Metric:
    metric = kind(f"vapray_sampler_{name}", description=description, tag_keys=("model",))
    metric.set_default_tags({"model": model})
    return metric
