"""Which pictures are looked up: generated ones, planted copies, and held-out ones that share no group with training."""

from collections.abc import Set

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["COLUMNS", "MOST_HELD_OUT", "suspects_of", "unrelated"]

MOST_HELD_OUT = 2000
"""Held-out pictures that are looked up; 1 % of them are 20."""
COLUMNS = ["key", "set", "pixels", "features"]
"""Of measurements, that a search reads."""


def unrelated(images: pa.Table, held_out: str) -> set[str]:
    """Ids of held-out pictures whose group (a patient, a lesion) has no picture in training.

    Args:
        images: columns image_id, group, split.
        held_out: the split.
    """
    trained_on = images.filter(pc.equal(images["split"], "train"))["group"].drop_null()
    asked = images.filter(pc.equal(images["split"], held_out))
    return set(asked.filter(pc.invert(pc.is_in(asked["group"], trained_on)))["image_id"].to_pylist())


def suspects_of(measurements: pa.Table, unrelated: Set[str], seed: int) -> pa.Table:
    """Rows of ``suspects`` without the column ``reject``, in the order of keys.

    Args:
        measurements: columns key, set, pixels and features.
        unrelated: ids of held-out pictures that may be looked up; beyond ``MOST_HELD_OUT`` some are drawn.
        seed: of the draw.
    """
    measurements = measurements.sort_by("key")
    sets, keys = measurements["set"], measurements["key"]
    apart = pa.array([f"image/{image_id}" for image_id in unrelated], pa.string())
    held_out = pc.indices_nonzero(pc.and_(pc.equal(sets, "held_out"), pc.is_in(keys, apart))).to_numpy()
    drawn = np.random.default_rng(seed).permutation(len(held_out))[:MOST_HELD_OUT]
    others = pc.indices_nonzero(pc.is_in(sets, pa.array(["generated", "planted"]))).to_numpy()
    return measurements.take(np.sort(np.concatenate([held_out[drawn], others]))).select(COLUMNS)
