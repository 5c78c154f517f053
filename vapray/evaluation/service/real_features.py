"""Features of real images: from a finished evaluation, or measured once and stored.

They are stored as a separate version of the table ``references``, with the guarantees of the store: the first of two
writers wins, only complete versions are read, and their sha256 is verified.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vapray.config import Config
from vapray.data.image_loading import load_square_images
from vapray.errors import DataError
from vapray.evaluation.extractors.extractor import FeatureExtractor
from vapray.evaluation.measurement import KEY_PREFIX
from vapray.evaluation.service.real_pictures import RealPictures
from vapray.store.tables import TABLES, build_part, choose_held_out_split, pack
from vapray.store.version import Store, Version, fingerprint

__all__ = ["REAL_SETS", "real_features"]

REAL_SETS = ("reference", "held_out")
COLUMNS = ["key", "set", "label", "features"]
BATCH = 128
"""Number of images decoded at a time."""

Say = Callable[[str], None]


def real_features(real: RealPictures, config: Config, extractor: FeatureExtractor, state: str, log: Say) -> pa.Table:
    """Load or measure the features of the sets ``reference`` and ``held_out``.

    Args:
        real: The real images.
        config: Complete config; section ``data`` sets the image size, ``run`` the share that may be missing.
        extractor: Feature extractor.
        state: Folder or URI for measured features.
        log: Logs that images are measured, and why.

    Returns:
        Columns key, set, label and features, sorted by key.

    Raises:
        DataError: too many images that must be measured cannot be read.
    """
    for version in real.references:
        with contextlib.suppress(DataError):
            if _same_measure(version, config, extractor):
                return _real_rows(version)
    return _kept(real, config, extractor, Store(f"{state.rstrip('/')}/reference"), log)


def _same_measure(version: Version, config: Config, extractor: FeatureExtractor) -> bool:
    made = version.require_manifest()
    found = (made.notes.get("extractor_sha256"), made.notes.get("resize"), made.sections.get("data.image_size"))
    return found == (extractor.space.sha256, extractor.space.resize, config.data.image_size)


def _real_rows(version: Version) -> pa.Table:
    rows = [part.filter(pc.is_in(part["set"], pa.array(REAL_SETS))) for part in version.read_parts(COLUMNS)]
    return pa.concat_tables(rows).select(COLUMNS).sort_by("key").combine_chunks()


def _kept(real: RealPictures, config: Config, extractor: FeatureExtractor, store: Store, log: Say) -> pa.Table:
    sections = {
        "data.image_size": config.data.image_size,
        "resize": extractor.space.resize,
        "extractor": extractor.space.sha256,
    }
    inputs = {"images": real.images.require_manifest().content_hash}
    name = fingerprint("reference", 1, sections, inputs)
    version = store.version("references", name)
    try:
        if version.manifest():
            return _real_rows(version)
        log(f"measuring the real images of {real.images.uri}")
    except DataError as error:
        log(f"measuring the real images of {real.images.uri} again: {error}")
        store.files.remove(version.folder)
    version = store.version("references", name)
    version.write_part(_measure(real, config, extractor))
    version.seal(stage="reference", sections=sections, inputs=inputs, seconds=0.0, versions={}, notes={})
    return _real_rows(version)


def _measure(real: RealPictures, config: Config, extractor: FeatureExtractor) -> pa.Table:
    images = real.images.read(["image_id", "label", "split", "path"])
    splits = {"train": "reference", choose_held_out_split(images["split"].unique().to_pylist()): "held_out"}
    asked = [row | {"set": splits[row["split"]]} for row in images.to_pylist() if row["split"] in splits]
    rows: list[dict[str, Any]] = []
    rejects: dict[str, str] = {}
    for start in range(0, len(asked), BATCH):
        batch = asked[start : start + BATCH]
        frames, kept, reasons = load_square_images([row["path"] for row in batch], config.data.image_size)
        features = np.asarray(extractor(frames), dtype=np.float32)
        some = [batch[position] for position in kept]
        rows += [
            {**row, "key": f"{KEY_PREFIX[row['set']]}/{row['image_id']}", "features": pack(vector)}
            for row, vector in zip(some, features, strict=True)
        ]
        rejects |= {batch[position]["image_id"]: reason for position, reason in reasons.items()}
    _refuse_too_few(real, config, rejects, len(asked))
    return build_part(TABLES["references"], rows)


def _refuse_too_few(real: RealPictures, config: Config, rejects: dict[str, str], asked: int) -> None:
    if len(rejects) > asked * config.run.max_reject_fraction:
        name, reason = next(iter(rejects.items()))
        raise DataError(
            f"{real.images.uri}: {len(rejects):,} of {asked:,} real images can no longer be read, such as {name}: "
            f"{reason}. Fix: restore them at the paths of the table `images`, or run `python -m jobs.evaluate` where "
            "they are available; its measurements are used instead."
        )
