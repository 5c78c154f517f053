"""Precision of a network's matrix products."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

__all__ = [
    "Precision",
    "has_fast_bfloat16",
    "keep_float32_exact",
    "matrix_products",
    "products_dtype",
    "without_autocast",
]

Precision = Literal["float32", "bfloat16"]


def matrix_products(precision: Precision, device: torch.device) -> torch.autocast:
    """Create a context in which a network computes in ``precision``.

    A U-ViT's tokens are then of that dtype from the first block to the last, the residual stream included; statistics
    of norms, softmax and losses are float32, and so are weights, gradients and the last layers. On CPUs without units
    for bfloat16 all is float32 for both values: there, bfloat16 would be emulated.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16" and has_fast_bfloat16(device))


def keep_float32_exact() -> None:
    """Let GPUs compute float32 products and convolutions in float32, and choose kernels without trials.

    By default torch computes convolutions in TensorFloat-32, with 10 bits, the last layer of a U-ViT included.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False


def products_dtype(like: Tensor) -> torch.dtype:
    """Get the dtype that :func:`matrix_products` asks for on a tensor's device; outside of it the tensor's own."""
    kind = like.device.type
    available = torch.amp.autocast_mode.is_autocast_available(kind)
    return torch.get_autocast_dtype(kind) if available and torch.is_autocast_enabled(kind) else like.dtype


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Create a context in which torch chooses no dtypes."""
    known = torch.amp.autocast_mode.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if known else nullcontext()


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
