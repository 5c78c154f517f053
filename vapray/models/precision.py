"""In what precision a network multiplies matrices."""

from typing import Literal

import torch

__all__ = ["Precision", "matrix_products"]

Precision = Literal["float32", "bfloat16"]


def matrix_products(precision: Precision, device: torch.device) -> torch.autocast:
    """A context in which a network's matrix products and attention are in ``precision``.

    Weights, the residual stream, norms and the last layers stay float32.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
