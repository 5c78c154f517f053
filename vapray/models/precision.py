"""Precision of a network's matrix products."""

from typing import Literal

import torch

__all__ = ["Precision", "matrix_products"]

Precision = Literal["float32", "bfloat16"]


def matrix_products(precision: Precision, device: torch.device) -> torch.autocast:
    """Create a context in which matrix products and attention use ``precision``.

    Weights, the residual stream, norms and the last layers of a U-ViT stay float32.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
