"""Selection of images for the copy search: generated, planted, and held-out without a group in training."""

from collections.abc import Iterable, Set

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["COLUMNS", "MAX_HELD_OUT", "select_candidates", "ungrouped_held_out"]

MAX_HELD_OUT = 2000
"""Maximum number of held-out images that are looked up; 1 % of them are 20."""
COLUMNS = ["key", "set", "pixels", "features"]
"""Columns of measurements that a search reads."""


def ungrouped_held_out(held_out: pa.Table, training: Iterable[pa.Table]) -> set[str]:
    """Ids of held-out images whose group (a patient, a lesion) has no image in training.

    Args:
        held_out: Columns image_id and group.
        training: Column group of the training images, in pieces.
    """
    groups = held_out["group"].drop_null().unique()
    trained_on: set[str] = set()
    for part in training:
        trained_on |= set(part["group"].filter(pc.is_in(part["group"], groups)).unique().to_pylist())
    related = pc.is_in(held_out["group"], pa.array([one for one in trained_on if one is not None], pa.string()))
    return set(held_out.filter(pc.invert(related))["image_id"].to_pylist())


def select_candidates(measurements: pa.Table, unrelated: Set[str], seed: int) -> pa.Table:
    """Select the rows of ``copy_candidates`` without the column ``reject``, sorted by key.

    Args:
        measurements: Table with columns key, set, pixels and features.
        unrelated: Ids of held-out images that may be looked up; ``MAX_HELD_OUT`` are drawn if there are more.
        seed: Seed of the draw.
    """
    measurements = measurements.sort_by("key")
    sets, keys = measurements["set"], measurements["key"]
    apart = pa.array([f"image/{image_id}" for image_id in unrelated], pa.string())
    held_out = pc.indices_nonzero(pc.and_(pc.equal(sets, "held_out"), pc.is_in(keys, apart))).to_numpy()
    drawn = np.random.default_rng(seed).permutation(len(held_out))[:MAX_HELD_OUT]
    others = pc.indices_nonzero(pc.is_in(sets, pa.array(["generated", "planted"]))).to_numpy()
    return measurements.take(np.sort(np.concatenate([held_out[drawn], others]))).select(COLUMNS)
