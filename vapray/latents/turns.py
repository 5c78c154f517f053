"""How many pictures a network takes at once, whatever the batch that it is asked for."""

from collections.abc import Iterator

__all__ = ["pictures_at_once", "turns"]

# 16 pictures of 256 x 256: Stable Diffusion's autoencoder then holds about 2 GB of activations.
PIXELS_AT_ONCE = 2**20


def pictures_at_once(height: int, width: int) -> int:
    """As many as bounded memory allows; one at the least."""
    return max(1, PIXELS_AT_ONCE // (height * width))


def turns(count: int, height: int, width: int) -> Iterator[slice]:
    """Slices of a batch of ``count`` pictures; one, maybe empty, at the least."""
    size = pictures_at_once(height, width)
    for begin in range(0, max(1, count), size):
        yield slice(begin, begin + size)
