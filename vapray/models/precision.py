"""Precision of a network's matrix products."""

from functools import cache
from pathlib import Path
from typing import Literal

import torch

__all__ = ["Precision", "has_fast_bfloat16", "matrix_products"]

Precision = Literal["float32", "bfloat16"]


def matrix_products(precision: Precision, device: torch.device) -> torch.autocast:
    """Create a context in which matrix products and attention use ``precision``.

    Weights, the residual stream, norms and the last layers of a U-ViT stay float32. On CPUs without units for bfloat16
    the products are float32 for both values: there, bfloat16 would be emulated.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16" and has_fast_bfloat16(device))


def has_fast_bfloat16(device: torch.device) -> bool:
    """Check whether a device multiplies bfloat16 matrices faster than float32: GPUs, and CPUs with units for it."""
    return device.type != "cpu" or bool({"amx_bf16", "avx512_bf16"} & _cpu_flags())


@cache
def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), []))
