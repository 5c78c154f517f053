"""What a network costs, so that no row of a table wins by its budget."""

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["forward_flops"]


@torch.no_grad()
def forward_flops(network: nn.Module, latent_shape: tuple[int, int, int], tokens: int, context_width: int) -> int:
    """Floating-point operations of one forward pass for one image; a multiplication with its addition counts two.

    Args:
        network: a denoiser on the CPU.
        latent_shape: (C, H, W).
        tokens: of the caption.
        context_width: of a token.
    """
    noisy, one = torch.zeros(1, *latent_shape), torch.ones(1, dtype=torch.int64)
    context, length = torch.zeros(1, tokens, context_width), torch.tensor([tokens])
    # Only the plain kernel is made of operations that are counted on every device.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(noisy, one, torch.zeros_like(one), context, length, reconstruct=False)
    return int(counter.get_total_flops())
