"""Shape and outline of a mask."""

import numpy as np
from scipy import ndimage
from skimage.measure import regionprops

from vapray.captioning.measured.frame import Mask


def axis_ratio(mask: Mask) -> float:
    """Return major over minor axis of the ellipse with the mask's second moments; 1 or more."""
    region = regionprops(mask.astype(np.uint8))[0]
    return float(region.axis_major_length / max(region.axis_minor_length, 1.0))


def roughness(mask: Mask, rings: int = 72) -> float:
    """Return how far the outline departs from an ellipse: root mean square, as a share of the radius.

    Log radii are taken towards ``rings`` directions from the centroid; their slow part, up to two waves
    around, belongs to the shape, not to the outline.
    """
    centre = np.array(ndimage.center_of_mass(mask))
    reach = np.arange(0.5, mask.shape[0], 0.5)
    angles = 2 * np.pi * np.arange(rings) / rings
    rows = centre[0] + reach[:, None] * np.sin(angles)
    columns = centre[1] + reach[:, None] * np.cos(angles)
    soft = ndimage.map_coordinates(mask.astype(float), [rows, columns], order=1, mode="constant")
    waves = np.fft.rfft(np.log(np.maximum(soft.sum(axis=0) * 0.5, 1.0)))
    waves[:3] = 0
    return float(np.std(np.fft.irfft(waves, rings)))
