"""Views of images for the copy search: small, in every flip, shifted slightly.

An image is averaged to a thumbnail of 32 x 32, of which 100 views are taken: four flips, and shifts by -2 to 2 pixels
in both directions. The inner 28 x 28 of each view, which every shift leaves inside, are averaged to 14 x 14. A training
image is compared by its one view without flip and shift. A generated image that is a flipped training image, or one
shifted by up to 2 thumbnail pixels (a 16th of its side), has a view that equals it in every value.

Shifts are by half a compared pixel: on 1,600 real dermoscopic images at 32 pixels, shifts by a full pixel left two
thirds of the copies that were shifted by one pixel farther away than new images are.
"""

from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

__all__ = ["VALUES", "cores", "thumbnails", "views"]

SIDE, MOST_MOVED = 32, 2
INNER = SIDE - 2 * MOST_MOVED
VALUES = (INNER // 2) ** 2 * 3
"""Number of values of one view."""
MOVES = range(-MOST_MOVED, MOST_MOVED + 1)


def thumbnails(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average images uint8 [B, H, W, 3] to thumbnails [B, 32, 32, 3]; commutes with flips."""
    planes = functional.adaptive_avg_pool2d(_planes(images), SIDE).round()
    return planes.permute(0, 2, 3, 1).to(torch.uint8).numpy()


def cores(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Views uint8 [B, VALUES] of training images, without flip and shift, from thumbnails [B, 32, 32, 3]."""
    return _view(_planes(thumbnails), 0, 0).to(torch.uint8).numpy()


def views(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """All views uint8 [B, 100, VALUES] of thumbnails [B, 32, 32, 3], in all flips and shifts."""
    planes = _planes(thumbnails)
    flipped = (planes, planes.flip(2), planes.flip(3), planes.flip(2, 3))
    seen = [_view(side, down, right) for side in flipped for down, right in product(MOVES, MOVES)]
    return torch.stack(seen, 1).to(torch.uint8).numpy()


def _planes(images: NDArray[np.uint8]) -> Tensor:
    return torch.tensor(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()


def _view(planes: Tensor, down: int, right: int) -> Tensor:
    top, left = MOST_MOVED + down, MOST_MOVED + right
    inner = planes[:, :, top : top + INNER, left : left + INNER]
    return functional.avg_pool2d(inner, 2).round().flatten(1)
