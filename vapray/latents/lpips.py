"""LPIPS, the perceptual distance of two images, from weights in files.

Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (arXiv 1801.03924), version
0.1: activations of an ImageNet network, each position's vector at length one, squared differences weighted by trained
heads, mean over positions, sum over layers. The implementation in torchmetrics downloads the network's weights, so it
does not work offline; the tests compare with it. Without heads all channels have equal weight, the paper's uncalibrated
variant: its values have another scale and are not called LPIPS.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vapray.latents.batch_slices import batch_slices
from vapray.latents.image_tensors import to_model_range

__all__ = ["LPIPS", "SMALLEST_SIDE", "TAPS"]

TAPS = {
    "alexnet": (1, 4, 7, 9, 11),
    "vgg16": (3, 8, 15, 22, 29),
    "squeezenet1_1": (1, 4, 7, 9, 10, 11, 12),
    "squeezenet1_0": (1, 4, 7, 8, 9, 10, 12),
}
"""Indices of the compared layers of torchvision's networks; for squeezenet1_0 the same fire modules as for 1_1."""
SMALLEST_SIDE = 32
"""Minimum image side, in pixels; below it the networks reduce an image to nothing."""
LENGTH_OF_NOTHING = 1e-8


class LPIPS(nn.Module):
    """Differentiable perceptual distance; its weights are fixed and need no gradients."""

    def __init__(self, backbone: str, layers: nn.Sequential, heads: list[Tensor] | None, pixels: str) -> None:
        """Combine backbone and heads.

        Args:
            backbone: a key of ``TAPS``.
            layers: torchvision's ``features`` of that network, with weights.
            heads: weights [1, C, 1, 1] of each compared layer, or None.
            pixels: ``imagenet`` or ``caffe``, see ``autoencoder.lpips_pixels``.
        """
        super().__init__()
        self.name = f"LPIPS 0.1 ({backbone})" if heads else f"uncalibrated distance ({backbone})"
        self._taps, self._pixels = TAPS[backbone], pixels
        self.layers = nn.Sequential(*list(layers.children())[: self._taps[-1] + 1])
        self.heads = nn.ParameterList(heads or [])
        self.eval().requires_grad_(False)

    def forward(self, first_B3HW: Tensor, second_B3HW: Tensor) -> Tensor:
        """Compute distances [B] of images in -1..1."""
        firsts, seconds = self._activations(first_B3HW), self._activations(second_B3HW)
        weights = list(self.heads) or [1.0] * len(firsts)
        parts = zip(firsts, seconds, weights, strict=True)
        layers = [((one - other).square() * weight).sum(1).mean((1, 2)) for one, other, weight in parts]
        return torch.stack(layers).sum(0)

    @torch.no_grad()
    def between(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
        """Compute the mean distance over pairs of images uint8 [B, H, W, 3]."""
        device = next(self.layers.parameters()).device
        pairs = ((to_model_range(first[turn]), to_model_range(second[turn])) for turn in batch_slices(*first.shape[:3]))
        return float(torch.cat([self(one.to(device), other.to(device)) for one, other in pairs]).mean())

    def _activations(self, pictures_B3HW: Tensor) -> list[Tensor]:
        values, found = self._normalized(pictures_B3HW), []
        for number, layer in enumerate(self.layers.children()):
            values = layer(values)
            if number in self._taps:
                length = values.square().sum(1, keepdim=True).add(LENGTH_OF_NOTHING).sqrt()
                found.append(values / length)
        return found

    def _normalized(self, pictures_B3HW: Tensor) -> Tensor:
        if self._pixels == "caffe":
            mean = pictures_B3HW.new_tensor([104.0, 117.0, 123.0]).view(3, 1, 1)
            return (pictures_B3HW.flip(1) + 1) * 127.5 - mean
        shift = pictures_B3HW.new_tensor([-0.030, -0.088, -0.188]).view(3, 1, 1)
        return (pictures_B3HW - shift) / pictures_B3HW.new_tensor([0.458, 0.448, 0.450]).view(3, 1, 1)
