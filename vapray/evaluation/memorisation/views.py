"""Pictures as the search for copies sees them: small, in every flip, moved by a little.

A frame is averaged to a thumbnail of 32 x 32, of which 100 views are taken: four flips, and moves by -2 to 2 pixels in
both directions. Of each view the inner 28 x 28, which every move leaves inside, are averaged to 14 x 14. A training
picture is the one view that is neither flipped nor moved. A generated picture that is a training picture flipped, or
moved by up to 2 thumbnail pixels (a 16th of its side), has a view that is equal to it in every value.

Moves are by half a pixel of what is compared: on 1,600 real dermoscopic pictures at 32 pixels, whole ones left two
thirds of the copies that were moved by one pixel farther away than new pictures are.
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
"""Of one view."""
MOVES = range(-MOST_MOVED, MOST_MOVED + 1)


def thumbnails(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames uint8 [B, H, W, 3] averaged to [B, 32, 32, 3]; the flip of a frame has the flip of its thumbnail."""
    planes = functional.adaptive_avg_pool2d(_planes(images), SIDE).round()
    return planes.permute(0, 2, 3, 1).to(torch.uint8).numpy()


def cores(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Thumbnails [B, 32, 32, 3] as training pictures are compared: uint8 [B, VALUES]."""
    return _view(_planes(thumbnails), 0, 0).to(torch.uint8).numpy()


def views(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Thumbnails [B, 32, 32, 3] in all flips and moves: uint8 [B, 100, VALUES]."""
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
