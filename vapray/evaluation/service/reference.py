"""Reference statistics for set metrics: features of a run's real images, its extractor and its classifier.

The features come from a finished evaluation, or are measured once and stored as a separate version of the table
``reference_measurements``, with the guarantees of the store: the first of two writers wins, only complete versions are
read, and their sha256 is verified.
"""

import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vapray.config import Config
from vapray.data.image_loading import load_square_images
from vapray.errors import DataError
from vapray.evaluation.classifier import Classifier
from vapray.evaluation.extractors.extractor import FeatureExtractor
from vapray.evaluation.features import build_extractor
from vapray.evaluation.measurement import KEY_PREFIX, feature_set, stored_classifier
from vapray.evaluation.service.real_images import RealImages
from vapray.evaluation.set_metrics import FeatureSet
from vapray.store.receipts import Span
from vapray.store.run_store import Store
from vapray.store.tables import TABLES, build_part, choose_held_out_split, pack
from vapray.store.version import Version, fingerprint

__all__ = ["ReferenceStatistics"]

REAL_SETS = ("reference", "held_out")
COLUMNS = ["key", "set", "label", "features"]
BATCH = 128
"""Number of images decoded at a time."""

Log = Callable[[str], None]


@dataclass(frozen=True)
class ReferenceStatistics:
    """Reference statistics of one model; immutable, so threads may share it."""

    reference: FeatureSet
    """Features of the training images."""
    held_out: FeatureSet
    """Features of real images that were not trained on."""
    keys: tuple[str, ...]
    """Keys of the training images, ``image/IMAGE_ID``."""
    extractor: FeatureExtractor
    classifier: Classifier | None
    """Classifier of the run's newest evaluation that has one."""
    config: Config
    """Complete config; sections ``data``, ``evaluate`` and ``run`` set preparation and comparison of images."""

    @classmethod
    def load(cls, real: RealImages, config: Config, state: str, log: Log) -> Self:
        """Load the features, or measure the real images, which may take minutes.

        Args:
            real: The real images.
            config: Config of the checkpoint.
            state: Folder or URI for measured features.
            log: Logs that images are measured.

        Raises:
            DataError: too many images cannot be read, there are fewer than two training images, or the features need
                a classifier that no evaluation has stored.
            ConfigError, CheckpointError, BackendError: problems of the extractor's weights; see ``build_extractor``.
        """
        classifier = _classifier(real, config)
        extractor = build_extractor(config.evaluate, classifier=classifier)
        rows = _real_features(real, config, extractor, state, log)
        reference, held_out = (
            feature_set(rows.filter(pc.equal(rows["set"], name)).to_pylist(), extractor.space, config)
            for name in REAL_SETS
        )
        if len(reference.labels) < 2:
            raise DataError(f"{real.images.uri}: {len(reference.labels)} training images, expected at least 2.")
        keys = rows.filter(pc.equal(rows["set"], "reference"))["key"].to_pylist()
        return cls(reference, held_out, tuple(keys), extractor, classifier, config)

    @property
    def image_size(self) -> int:
        """Side of all compared images, in pixels."""
        return self.config.data.image_size

    @property
    def label_prior(self) -> dict[int, int]:
        """Number of training images of each class."""
        return dict(sorted(Counter(self.reference.labels.tolist()).items()))

    def feature_set(self, features: NDArray[np.float64]) -> FeatureSet:
        """Wrap features [N, F] of images that were prepared in the same way; labels are set to 0."""
        return FeatureSet(
            features,
            np.zeros(len(features), dtype=np.int64),
            self.reference.space,
            self.reference.preparation,
        )


def _classifier(real: RealImages, config: Config) -> Classifier | None:
    for version in real.references:
        with contextlib.suppress(DataError):
            if version.require_manifest().sections.get("data.image_size") == config.data.image_size:
                found = stored_classifier(version, len(real.class_names), config.data.image_size)
                if found:
                    return found
    return None


def _real_features(real: RealImages, config: Config, extractor: FeatureExtractor, state: str, log: Log) -> pa.Table:
    """Load or measure the features of ``REAL_SETS``: columns key, set, label and features, sorted by key."""
    for version in real.references:
        with contextlib.suppress(DataError):
            if _same_measure(version, config, extractor):
                return _real_rows(version)
    return _measure_once(real, config, extractor, Store(f"{state.rstrip('/')}/reference"), log)


def _same_measure(version: Version, config: Config, extractor: FeatureExtractor) -> bool:
    made = version.require_manifest()
    found = (made.notes.get("extractor_sha256"), made.notes.get("resize"), made.sections.get("data.image_size"))
    return found == (extractor.space.sha256, extractor.space.resize, config.data.image_size)


def _real_rows(version: Version) -> pa.Table:
    rows = [part.filter(pc.is_in(part["set"], pa.array(REAL_SETS))) for part in version.read_parts(COLUMNS)]
    return pa.concat_tables(rows).select(COLUMNS).sort_by("key").combine_chunks()


def _measure_once(real: RealImages, config: Config, extractor: FeatureExtractor, store: Store, log: Log) -> pa.Table:
    sections = {
        "data.image_size": config.data.image_size,
        "resize": extractor.space.resize,
        "extractor": extractor.space.sha256,
    }
    inputs = {"images": real.images.require_manifest().content_hash}
    name = fingerprint("reference", 1, sections, inputs)
    version = store.version("reference_measurements", name)
    try:
        if version.manifest():
            return _real_rows(version)
        log(f"measuring the real images of {real.images.uri}")
    except DataError as error:
        log(f"measuring the real images of {real.images.uri} again: {error}")
        store.files.remove(version.folder)
    version = store.version("reference_measurements", name)
    rows = _measure(real, config, extractor)
    version.write_part(rows, Span.whole("training images", rows.num_rows))
    version.seal(stage="reference", sections=sections, inputs=inputs, seconds=0.0, versions={}, notes={})
    return _real_rows(version)


def _measure(real: RealImages, config: Config, extractor: FeatureExtractor) -> pa.Table:
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
    _require_readable(real, config, rejects, len(asked))
    return build_part(TABLES["reference_measurements"], rows)


def _require_readable(real: RealImages, config: Config, rejects: dict[str, str], asked: int) -> None:
    if len(rejects) > asked * config.run.max_reject_fraction:
        name, reason = next(iter(rejects.items()))
        raise DataError(
            f"{real.images.uri}: {len(rejects):,} of {asked:,} real images can no longer be read, such as {name}: "
            f"{reason}. Fix: restore them at the paths of the table `images`, or run `python -m jobs.evaluate` where "
            "they are available; its measurements are used instead."
        )
