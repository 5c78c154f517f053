"""What a sampler's replica tells Prometheus, through Ray's own exporter of each node."""

import threading
import time
from typing import TypeVar

from ray.util.metrics import Counter, Gauge

from vapray.diffusion.engine_stats import COUNTED, EngineStats
from vapray.sampling.live import LiveSampler

__all__ = ["SamplerMetrics"]

DESCRIPTIONS = {
    "calls": "Network calls.",
    "rows": "Network rows that pictures asked for.",
    "padded_rows": "Network rows computed, padding included; rows over these is the batch occupancy.",
    "steps": "Solver steps, over all pictures.",
    "finished": "Pictures finished.",
    "failed": "Pictures failed, overdue ones among them.",
    "cancelled": "Pictures cancelled, because their client was gone or their request failed.",
}
GAUGES = {"waiting": "Pictures not finished yet.", "pending_rows": "Network rows until the last of them is finished."}
SECONDS = 1.0
Metric = TypeVar("Metric", Counter, Gauge)


class SamplerMetrics:
    """Looks at the engines once a second, in a thread of its own.

    Args:
        live: whose engines.
        model: the tag.
    """

    def __init__(self, live: LiveSampler, model: str) -> None:
        self._live = live
        self._told = dict.fromkeys(COUNTED, 0)
        self._counters = {name: _tagged(Counter, name, text, model) for name, text in DESCRIPTIONS.items()}
        self._gauges = {name: _tagged(Gauge, name, text, model) for name, text in GAUGES.items()}
        threading.Thread(target=self._watch, name="sampler metrics", daemon=True).start()

    def _watch(self) -> None:
        while True:
            self._tell(list(self._live.stats().values()))
            time.sleep(SECONDS)

    def _tell(self, engines: list[EngineStats]) -> None:
        for name, counter in self._counters.items():
            total = sum(getattr(stats, name) for stats in engines)
            if total > self._told[name]:
                counter.inc(total - self._told[name])
                self._told[name] = total
        for name, gauge in self._gauges.items():
            gauge.set(sum(getattr(stats, name) for stats in engines))


def _tagged(kind: type[Metric], name: str, description: str, model: str) -> Metric:
    metric = kind(f"vapray_sampler_{name}", description=description, tag_keys=("model",))
    metric.set_default_tags({"model": model})
    return metric
