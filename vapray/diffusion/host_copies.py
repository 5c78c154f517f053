"""Copies of small values between the CPU and a device that do not wait for the device."""

from collections import deque

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

__all__ = ["Lead", "Readback", "to_device"]


def to_device(values: ArrayLike, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Copy numbers to a device; for a GPU from pinned memory, so that the copy is made in the order of its work."""
    host = torch.from_numpy(np.asarray(values)).to(dtype)
    return (host.pin_memory() if device.type == "cuda" else host).to(device, non_blocking=True)


class Lead:
    """Limit of the steps that the CPU is ahead of a GPU; none elsewhere.

    Args:
        device: device of the steps.
        steps: number of steps.
    """

    def __init__(self, device: torch.device, steps: int = 2) -> None:
        self._device, self._steps = device, steps
        self._ends: deque[torch.cuda.Event] = deque()

    def step(self) -> None:
        """Note the end of a step, and wait for that of ``steps`` steps before."""
        if self._device.type != "cuda":
            return
        self._ends.append(torch.cuda.Event())
        self._ends[-1].record(torch.cuda.current_stream(self._device))
        if len(self._ends) > self._steps:
            self._ends.popleft().synchronize()


class Readback:
    """Scalar on its way to the CPU, so that the next step starts before it has arrived.

    Args:
        scalar: tensor of one value; on the CPU it is kept as it is.
    """

    def __init__(self, scalar: Tensor) -> None:
        self._host, self._copied = scalar.detach(), None
        if scalar.device.type != "cpu":
            self._host = torch.empty((), dtype=scalar.dtype, pin_memory=scalar.is_cuda)
            self._host.copy_(scalar.detach(), non_blocking=True)
        if scalar.is_cuda:
            self._copied = torch.cuda.Event()
            self._copied.record(torch.cuda.current_stream(scalar.device))

    def ready(self) -> bool:
        """Check that ``value`` need not wait."""
        return self._copied is None or self._copied.query()

    def value(self) -> float:
        """Wait for the copy, not for later work of the device, and get the value."""
        if self._copied is not None:
            self._copied.synchronize()
        return float(self._host)
