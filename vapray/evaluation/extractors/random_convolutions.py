"""Embedded extractor: a fixed random network without semantics.

Its distances measure colour, texture and layout, not content; so its name, which is shown with every number, contains
"no semantics".
"""

import hashlib
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vapray.evaluation.extractors.extractor import FeatureSpace, as_planes

__all__ = ["RandomConvolutions"]


def _uniform_kernels(source: np.random.Philox, shape: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """Uniform weights of unit output variance, from raw bits: the same on every platform and numpy version.

    Every second kernel is odd (itself minus itself rotated by 180 degrees), so it responds to edges and texture, not to
    the mean colour.
    """
    count = math.prod(shape)
    unit = (source.random_raw(count) >> np.uint64(40)).astype(np.float64) / 2**23 - 1.0
    kernels = unit.reshape(shape) * math.sqrt(3.0 / math.prod(shape[1:]))
    kernels[1::2] -= kernels[1::2, :, ::-1, ::-1].copy()
    return kernels.astype(np.float32)


class RandomConvolutions:
    """Fixed random convolutional network at three scales, pooled to means, deviations and a 2 x 2 layout.

    Means respond to colour, deviations of odd kernels to texture and blur, the layout to positions.

    Args:
        seed: Seed of the weights, which do not depend on torch's random state.
        resize: Side in pixels that images are resized to.
        batch_images: Images per forward pass; limits memory, and changes results by float32 rounding only.
    """

    _shapes = ((12, 3, 5, 5), (12, 12, 3, 3), (12, 12, 3, 3), (6, 12, 3, 3))

    def __init__(self, seed: int = 0, resize: int = 64, batch_images: int = 128) -> None:
        self.batch_images = batch_images
        source = np.random.Philox(key=seed)
        kernels = [_uniform_kernels(source, shape) for shape in self._shapes]
        self._kernels = [torch.from_numpy(kernel) for kernel in kernels]
        width = 2 * sum(shape[0] for shape in self._shapes[:-1]) + 4 * self._shapes[-1][0]
        digest = hashlib.sha256(b"reflect conv, leaky relu 0.2, mean and std, halve; layout 2x2")
        for kernel in kernels:
            digest.update(kernel.astype("<f4").tobytes())
        self.space = FeatureSpace("random convolutions (no semantics)", digest.hexdigest(), width, resize)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Compute features float64 [B, F] of RGB images uint8 [B, H, W, 3]."""
        blocks = [images[i : i + self.batch_images] for i in range(0, len(images), self.batch_images)]
        with torch.no_grad():
            parts = [self._features(as_planes(block, self.space.resize)) for block in blocks]
        if not parts:
            return np.zeros((0, self.space.width))
        return torch.cat(parts).double().numpy()

    def _features(self, planes: Tensor) -> Tensor:
        pooled = []
        for kernel in self._kernels[:-1]:
            planes = _convolve(planes, kernel)
            deviation, mean = torch.std_mean(planes, dim=(2, 3))
            pooled += [mean, deviation]
            planes = functional.avg_pool2d(planes, 2)
        layout = functional.adaptive_avg_pool2d(_convolve(planes, self._kernels[-1]), 2)
        return torch.cat([*pooled, layout.flatten(1)], dim=1)


def _convolve(planes: Tensor, kernel: Tensor) -> Tensor:
    margin = kernel.shape[-1] // 2
    padded = functional.pad(planes, (margin,) * 4, mode="reflect")
    return functional.leaky_relu(functional.conv2d(padded, kernel), 0.2)
