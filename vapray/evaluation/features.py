"""Images to feature vectors: the protocol, the registry, and the embedded random network.

The embedded extractor knows nothing about medicine or objects. Its distances say that colour, texture and
layout differ, not that content does, so its name says "no semantics" wherever a number is shown.
"""

import difflib
import hashlib
import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vapray.errors import ConfigError, DataError


class FeatureExtractor(Protocol):
    """Turns pictures into vectors; two sets may be compared only if name, sha256 and resize agree."""

    name: str
    """What a reader sees beside every number."""
    sha256: str
    """Of the weights and the layer description, so that numbers of different extractors never mix."""
    width: int
    """F, the length of a feature vector."""
    resize: int
    """Side in pixels that every picture is resized to."""

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.floating[Any]]:
        """Features [B, F] of RGB images [B, H, W, 3]."""


def as_planes(images: NDArray[np.uint8], resize: int) -> Tensor:
    """RGB uint8 [B, H, W, 3] to float32 [B, 3, resize, resize] in -1..1, antialiased bilinear.

    Raises:
        DataError: another shape or type, which would be read as something it is not.
    """
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise DataError(f"images: wanted uint8 [B, H, W, 3], got {images.dtype} {list(images.shape)}")
    planes = torch.tensor(images).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
    if planes.shape[-2:] == (resize, resize):
        return planes
    return functional.interpolate(planes, size=(resize, resize), mode="bilinear", antialias=True)


def _uniform_kernels(source: np.random.Philox, shape: tuple[int, int, int, int]) -> NDArray[np.float32]:
    """Uniform weights of unit output variance, from raw bits: the same on every platform and numpy version.

    Every second kernel is made odd (itself minus itself turned by 180 degrees), so it answers to edges and
    texture and not to the mean colour.
    """
    count = math.prod(shape)
    unit = (source.random_raw(count) >> np.uint64(40)).astype(np.float64) / 2**23 - 1.0
    kernels = unit.reshape(shape) * math.sqrt(3.0 / math.prod(shape[1:]))
    kernels[1::2] -= kernels[1::2, :, ::-1, ::-1].copy()
    return kernels.astype(np.float32)


class RandomConvolutions:
    """A fixed random convolutional network at three scales, pooled to means, deviations and a 2 x 2 layout.

    Args:
        seed: of the weights; the weights do not depend on torch's random state.
        resize: side in pixels that pictures are resized to.
        batch_images: pictures per forward pass; bounds memory, changes results by float32 rounding only.

    Means answer to colour, deviations of odd kernels to texture and blur, the layout to where things are.
    """

    name = "random convolutions (no semantics)"
    _shapes = ((12, 3, 5, 5), (12, 12, 3, 3), (12, 12, 3, 3), (6, 12, 3, 3))

    def __init__(self, seed: int = 0, resize: int = 64, batch_images: int = 128) -> None:
        self.resize = resize
        self.batch_images = batch_images
        source = np.random.Philox(key=seed)
        kernels = [_uniform_kernels(source, shape) for shape in self._shapes]
        self._kernels = [torch.from_numpy(kernel) for kernel in kernels]
        self.width = 2 * sum(shape[0] for shape in self._shapes[:-1]) + 4 * self._shapes[-1][0]
        digest = hashlib.sha256(b"reflect conv, leaky relu 0.2, mean and std, halve; layout 2x2")
        for kernel in kernels:
            digest.update(kernel.astype("<f4").tobytes())
        self.sha256 = digest.hexdigest()

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Features float64 [B, F] of RGB uint8 [B, H, W, 3]."""
        blocks = [images[i : i + self.batch_images] for i in range(0, len(images), self.batch_images)]
        with torch.no_grad():
            parts = [self._features(as_planes(block, self.resize)) for block in blocks]
        if not parts:
            return np.zeros((0, self.width))
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


_FACTORIES: dict[str, Callable[..., FeatureExtractor]] = {"random_convolutions": RandomConvolutions}


def register_extractor(name: str, factory: Callable[..., FeatureExtractor]) -> None:
    """Make ``load_extractor(name, **options)`` call ``factory(**options)``; the latest one holds."""
    _FACTORIES[name] = factory


def extractor_names() -> tuple[str, ...]:
    """The names that ``load_extractor`` accepts."""
    return tuple(sorted(_FACTORIES))


def load_extractor(name: str = "random_convolutions", **options: Any) -> FeatureExtractor:
    """Build the extractor registered under ``name``.

    Raises:
        ConfigError: nothing is registered under it; the nearest name is offered.
    """
    if name in _FACTORIES:
        return _FACTORIES[name](**options)
    near = difflib.get_close_matches(name, _FACTORIES, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise ConfigError(f"unknown feature extractor {name!r}; known: {', '.join(extractor_names())}.{hint}")
