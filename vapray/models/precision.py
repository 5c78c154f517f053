"""In what precision a network multiplies matrices."""

from typing import Literal

import torch

__all__ = ["Precision", "matrix_products"]

Precision = Literal["float32", "bfloat16"]


def matrix_products(precision: Precision, device: torch.device) -> torch.autocast:
    """A context in which a network's matrix products and attention are in ``precision``.

    Weights, the residual stream and norms stay float32, and so do the last layers of a U-ViT.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
