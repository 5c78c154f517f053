"""Linear layers and norms with float32 weights, for inputs of any dtype."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["HeadNorm", "LayerNorm", "Linear", "weights_in"]

RMS_EPSILON = 1e-6
ALIGNMENT = 64
"""Multiple of values at which each copied weight begins, so that matrix products read aligned memory."""


class Linear(nn.Linear):
    """Linear layer in the dtype of its input; its weights are copied to that dtype."""

    cast: dict[str, Tensor] | None = None
    """Copies that ``weights_in`` has made."""

    def forward(self, input: Tensor) -> Tensor:
        """Map [..., in] to [..., out]."""
        return F.linear(input, *_weights(self, input.dtype))


class LayerNorm(nn.LayerNorm):
    """Layer norm in the dtype of its input, with float32 statistics."""

    cast: dict[str, Tensor] | None = None
    """Copies that ``weights_in`` has made."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalize the last dimension."""
        return F.layer_norm(input, self.normalized_shape, *_weights(self, input.dtype), self.eps)


def _weights(layer: Linear | LayerNorm, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    copies = layer.cast  # read once: another thread may sample with the same layers
    if copies is not None:
        return copies["weight"], copies.get("bias")
    return layer.weight.to(dtype), None if layer.bias is None else layer.bias.to(dtype)


class _RmsNorm(torch.autograd.Function):
    """RMS norm of the last dimension with a gain, in float32.

    Its backward pass takes half the time of ``F.rms_norm``'s on a CPU, where that is no single kernel.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor) -> Tensor:
        full = x.float()
        scale = full.square().mean(-1, keepdim=True).add_(RMS_EPSILON).rsqrt_()
        normed = full * scale
        ctx.save_for_backward(normed, scale, gain)
        return (normed * gain).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        normed, scale, gain = ctx.saved_tensors
        full = gradient.float()
        products = full * normed
        along = (products @ gain)[..., None] / len(gain)
        of_x = (full * gain).addcmul_(normed, along, value=-1).mul_(scale)
        return of_x.to(gradient.dtype), products.flatten(0, -2).sum(0)


class HeadNorm(nn.Module):
    """RMS norm of each head's queries or keys, with one learned gain per value of a head (QK-norm).

    Scores are then bounded, so that large learning rates do not saturate the softmax (Dehghani et al., arXiv
    2302.05442). It computes in float32.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.RMSNorm(width // num_heads, eps=RMS_EPSILON)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """Map [B, L, D] to [B, L, D]."""
        normed: Tensor = _RmsNorm.apply(x_BLD.unflatten(2, (self.num_heads, -1)), self.norm.weight)
        return normed.flatten(2)


@contextmanager
def weights_in(dtype: torch.dtype, parts: Iterable[Sequence[nn.Module]]) -> Iterator[None]:
    """Copy the weights of all layers to a dtype, those of one part by one call instead of one call each.

    A network cannot be copied inside the context.

    Args:
        dtype: dtype of the copies, and of all inputs of the layers inside the context.
        parts: modules whose layers are copied together. Gradients of a part arrive together: with DDP, several parts
            let the exchange of the first ones begin before the backward pass has ended.
    """
    changed: list[Linear | LayerNorm] = []
    try:
        for modules in parts:
            layers = [
                layer for module in modules for layer in module.modules() if isinstance(layer, Linear | LayerNorm)
            ]
            names = [(layer, name) for layer in layers for name, _ in layer.named_parameters(recurse=False)]
            copies = _CopyTogether.apply(dtype, *(getattr(layer, name) for layer, name in names))
            changed += layers
            made: dict[Linear | LayerNorm, dict[str, Tensor]] = defaultdict(dict)
            for (layer, name), copy in zip(names, copies, strict=True):
                made[layer][name] = copy
            for layer in layers:
                layer.cast = made[layer]
        yield
    finally:
        for layer in changed:
            layer.cast = None


class _CopyTogether(torch.autograd.Function):
    """Copies of tensors in another dtype, in one allocation."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.dtype = tensors[0].dtype
        ctx.set_materialize_grads(False)
        return _copies(tensors, dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        given = [gradient for gradient in gradients if gradient is not None]
        copies = iter(_copies(given, ctx.dtype) if given else ())
        return (None, *(None if gradient is None else next(copies) for gradient in gradients))


def _copies(tensors: Sequence[Tensor], dtype: torch.dtype) -> tuple[Tensor, ...]:
    sizes = [tensor.numel() for tensor in tensors]
    ends = list(accumulate(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes))
    flat = tensors[0].new_empty(ends[-1], dtype=dtype)
    copies = tuple(
        flat[end - -(-size // ALIGNMENT) * ALIGNMENT :][:size].view(tensor.shape)
        for tensor, size, end in zip(tensors, sizes, ends, strict=True)
    )
    torch._foreach_copy_(copies, tuple(tensors))
    return copies
