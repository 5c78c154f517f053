"""Chunking of large batches, which bounds a network's memory."""

from collections.abc import Iterator

__all__ = ["pictures_at_once", "turns"]

# 16 images of 256 x 256, for which Stable Diffusion's autoencoder has about 2 GB of activations.
PIXELS_AT_ONCE = 2**20


def pictures_at_once(height: int, width: int) -> int:
    """Compute the number of images per chunk, at least one."""
    return max(1, PIXELS_AT_ONCE // (height * width))


def turns(count: int, height: int, width: int) -> Iterator[slice]:
    """Iterate over slices of a batch of ``count`` images; at least one slice, which may be empty."""
    size = pictures_at_once(height, width)
    for begin in range(0, max(1, count), size):
        yield slice(begin, begin + size)
