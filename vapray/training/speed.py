"""Speed of training, and what limits it: batches, the device, or neither."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

__all__ = ["SpeedMeter", "peak_flops_of"]

PEAK_FLOPS = {"B200": 2.25e15, "H200": 9.89e14, "H100": 9.89e14, "A100": 3.12e14, "L40S": 3.62e14}
"""Dense bfloat16 products per second, in floating-point operations, by the vendor's data sheets (SXM)."""


def peak_flops_of(device: torch.device) -> float | None:
    """Look up a GPU's rate of dense bfloat16 products; None for other devices."""
    if device.type != "cuda":
        return None
    words = torch.cuda.get_device_name(device).replace("-", " ").split()
    if "PCIe" in words or "NVL" in words:
        return None
    return next((rate for model, rate in PEAK_FLOPS.items() if model in words), None)


@dataclass
class SpeedMeter:
    """Measures steps between two points of the learning curve.

    Attributes:
        images: number of images of a step, over all ranks.
        device: device of this rank.
        step_flops: floating-point operations of a step of one rank; None: not known.
        peak_flops: the device's rate of products; None: not known.
        clock: time in seconds.
    """

    images: int
    device: torch.device
    step_flops: float | None = None
    peak_flops: float | None = None
    clock: Callable[[], float] = time.perf_counter
    _since: tuple[float, int, float, float] | None = field(default=None, init=False)

    def measure(self, step: int, data_wait: float, device_wait: float) -> dict[str, float]:
        """Measure the steps since the last call; nothing at the first one.

        Args:
            step: number of steps taken.
            data_wait: seconds that steps have waited for batches so far.
            device_wait: seconds that the CPU has waited for the device so far.

        Returns:
            ``images_per_second``, over all ranks; ``step_milliseconds``; ``data_wait_share`` and ``device_wait_share``
            of the time: if both are near 0 on a GPU, the CPU is too slow to give it work. On a GPU also
            ``device_memory_gib``, the most that was allocated, and, for known GPUs, ``mfu``, the share of its rate of
            products that three forward passes of each image take.
        """
        now = (self.clock(), step, data_wait, device_wait)
        before, self._since = self._since, now
        if before is None or step == before[1]:
            return {}
        seconds, steps, data, device = (new - old for new, old in zip(now, before, strict=True))
        found = {
            "images_per_second": steps * self.images / seconds,
            "step_milliseconds": 1000 * seconds / steps,
            "data_wait_share": data / seconds,
            "device_wait_share": device / seconds,
        }
        if self.device.type == "cuda":
            found["device_memory_gib"] = torch.cuda.max_memory_allocated(self.device) / 2**30
            torch.cuda.reset_peak_memory_stats(self.device)
        if self.step_flops is not None and self.peak_flops is not None:
            found["mfu"] = self.step_flops * steps / seconds / self.peak_flops
        return found
