"""Cost of a network, for comparisons at an equal budget."""

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["forward_flops"]


@torch.no_grad()
def forward_flops(network: nn.Module, latent_shape: tuple[int, int, int], tokens: int, context_width: int) -> int:
    """Count floating-point operations of one forward pass for one image; a multiply-add counts two.

    Args:
        network: denoiser on the CPU.
        latent_shape: (C, H, W).
        tokens: number of tokens of the caption.
        context_width: width of a token.

    Returns:
        Number of floating-point operations.
    """
    noisy, one = torch.zeros(1, *latent_shape), torch.ones(1, dtype=torch.int64)
    context, length = torch.zeros(1, tokens, context_width), torch.tensor([tokens])
    # Only the plain kernel consists of operations that are counted on every device.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(noisy, one, torch.zeros_like(one), context, length, reconstruct=False)
    return int(counter.get_total_flops())
