"""Features of real pictures: those that an evaluation has measured, or measured once and kept.

What is kept is a version of the table ``references`` of its own, so that the store's promises hold for it: of two
that make it the first wins, it is read only when whole, and held against its sha256.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vapray.config import Config
from vapray.data.frames import read_frames
from vapray.errors import DataError
from vapray.evaluation.extractors.extractor import FeatureExtractor
from vapray.evaluation.measuring import KEY_PREFIX
from vapray.evaluation.service.real_pictures import RealPictures
from vapray.store import Store, Version, fingerprint
from vapray.tables import TABLES, held_out_split, pack, part_of

__all__ = ["REAL_SETS", "real_features"]

REAL_SETS = ("reference", "held_out")
COLUMNS = ["key", "set", "label", "features"]
BATCH = 128
"""Pictures decoded at a time."""

Say = Callable[[str], None]


def real_features(real: RealPictures, config: Config, extractor: FeatureExtractor, state: str, say: Say) -> pa.Table:
    """Columns key, set, label and features of the sets ``reference`` and ``held_out``, sorted by key.

    Args:
        real: the pictures.
        config: section ``data`` says what they are brought to, ``run`` how many may be missing.
        extractor: of the features.
        state: folder or URI in which what has to be measured is kept.
        say: is told when pictures are measured anew, and why.

    Raises:
        DataError: they have to be measured, and too many of them cannot be read.
    """
    for version in real.references:
        with contextlib.suppress(DataError):
            if _same_measure(version, config, extractor):
                return _real_rows(version)
    return _kept(real, config, extractor, Store(f"{state.rstrip('/')}/reference"), say)


def _same_measure(version: Version, config: Config, extractor: FeatureExtractor) -> bool:
    made = version.sealed()
    found = (made.notes.get("extractor_sha256"), made.notes.get("resize"), made.sections.get("data.image_size"))
    return found == (extractor.space.sha256, extractor.space.resize, config.data.image_size)


def _real_rows(version: Version) -> pa.Table:
    rows = [part.filter(pc.is_in(part["set"], pa.array(REAL_SETS))) for part in version.read_parts(COLUMNS)]
    return pa.concat_tables(rows).select(COLUMNS).sort_by("key").combine_chunks()


def _kept(real: RealPictures, config: Config, extractor: FeatureExtractor, store: Store, say: Say) -> pa.Table:
    sections = {
        "data.image_size": config.data.image_size,
        "resize": extractor.space.resize,
        "extractor": extractor.space.sha256,
    }
    inputs = {"images": real.images.sealed().content_hash}
    name = fingerprint("reference", 1, sections, inputs)
    version = store.version("references", name)
    try:
        if version.manifest():
            return _real_rows(version)
        say(f"measuring the real pictures of {real.images.uri}")
    except DataError as error:
        say(f"measuring the real pictures of {real.images.uri} again: {error}")
        store.files.remove(version.folder)
    version = store.version("references", name)
    version.write_part(_measure(real, config, extractor))
    version.seal(stage="reference", sections=sections, inputs=inputs, seconds=0.0, versions={}, notes={})
    return _real_rows(version)


def _measure(real: RealPictures, config: Config, extractor: FeatureExtractor) -> pa.Table:
    images = real.images.read(["image_id", "label", "split", "path"])
    splits = {"train": "reference", held_out_split(images["split"].unique().to_pylist()): "held_out"}
    asked = [row | {"set": splits[row["split"]]} for row in images.to_pylist() if row["split"] in splits]
    rows: list[dict[str, Any]] = []
    rejects: dict[str, str] = {}
    for start in range(0, len(asked), BATCH):
        batch = asked[start : start + BATCH]
        frames, kept, reasons = read_frames([row["path"] for row in batch], config.data.image_size)
        features = np.asarray(extractor(frames), dtype=np.float32)
        some = [batch[position] for position in kept]
        rows += [
            {**row, "key": f"{KEY_PREFIX[row['set']]}/{row['image_id']}", "features": pack(vector)}
            for row, vector in zip(some, features, strict=True)
        ]
        rejects |= {batch[position]["image_id"]: reason for position, reason in reasons.items()}
    _refuse_too_few(real, config, rejects, len(asked))
    return part_of(TABLES["references"], rows)


def _refuse_too_few(real: RealPictures, config: Config, rejects: dict[str, str], asked: int) -> None:
    if len(rejects) > asked * config.run.max_bad_fraction:
        name, reason = next(iter(rejects.items()))
        raise DataError(
            f"{real.images.uri}: {len(rejects):,} of {asked:,} real pictures cannot be read any more, such as {name}: "
            f"{reason}. Bring them back to where the table `images` says, or run `python -m jobs.evaluate` where they "
            "are: its measurements are used instead."
        )
