"""Reference set of an evaluation, measured once for all evaluations of the same real images.

    reference_measurements/<fingerprint>   the sets reference, held_out, reconstructed, planted and class_mean
                                           files/classifier.safetensors: label classifier of the training images
                                           files/judge.safetensors: attribute judge of phantoms
    copy_candidates, nearest_training      copy search for its held-out and planted images, under the same fingerprint

The reference set is independent of generated images and of ``run.seed``: a dependence on the seed would add noise to
every difference between two runs. If several evaluations need it at the same time, one builds it and the others wait.
"""

import contextlib
import hashlib
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vapray import __version__
from vapray.config import Config
from vapray.config.dotted import values_at
from vapray.data.image_loading import load_square_images
from vapray.evaluation.attribute_judge import AttributeJudge
from vapray.evaluation.baselines import class_mean_images
from vapray.evaluation.classifier import Classifier, train_classifier
from vapray.evaluation.extractors.extractor import FeatureSpace
from vapray.evaluation.extractors.weight_files import features_content_hash
from vapray.evaluation.image_samples import ImageSample, RealSamples, images_of
from vapray.evaluation.judge_training import judge_of
from vapray.evaluation.measurement import CLASSIFIER, ImageMeasurer, stack_features, stored_classifier
from vapray.evaluation.reference_measurement import TABLE, MeasureRealImages, build_measurer
from vapray.memorisation.candidates import COLUMNS, select_candidates, ungrouped_held_out
from vapray.memorisation.planting import PLANTED, plant
from vapray.memorisation.search import search_training_set
from vapray.metrics.frechet import FeatureStatistics
from vapray.runtime.cluster import run_remote
from vapray.runtime.row_map import map_rows
from vapray.runtime.stage_context import StageContext
from vapray.store.receipts import Span
from vapray.store.tables import build_part
from vapray.store.version import Version, fingerprint

__all__ = ["ReferenceSet", "build_once", "load_or_build_reference"]

SECTIONS = (
    "data.modality", "data.image_size", "evaluate.features", "evaluate.preprocessing", "evaluate.classifier_steps",
    "evaluate.judge_steps", "caption.detail", "evaluate.classifier_images", "evaluate.held_out_images",
)  # fmt: skip
_Prepare = Callable[[Config, Version, Version, Mapping[int, int]], tuple[Classifier, FeatureSpace]]
SCHEMA, SEED = 4, 0


@dataclass(frozen=True)
class ReferenceSet:
    """Reference set that generated images are compared with."""

    version: Version
    """Version of the table ``reference_measurements``."""
    samples: RealSamples
    """Images that are compared with; copies are looked for in all training images."""
    nearest: Version
    """Copy search results of its held-out and planted images; all its parts are committed."""
    related_left_out: int
    """Number of held-out images that share a group with a training image and were not looked up."""
    classifier: Classifier
    judge: AttributeJudge | None
    space: FeatureSpace
    statistics: FeatureStatistics
    """Feature statistics of the sample of training images."""


def load_or_build_reference(run: StageContext) -> ReferenceSet:
    """Load the reference set, or build it.

    Raises:
        DataError: no images are held out.
        VaprayError: errors of :func:`vapray.runtime.row_map.map_rows`.
    """
    images, settings = run.inputs["images"], run.config.evaluate
    samples = RealSamples.draw(images, settings.reference_images, settings.held_out_images)
    apart = ungrouped_held_out(samples.held_out_rows, images_of(images, ["group"], "train"))
    version, seal = _version(run)
    real = replace(run, output=version)
    nearest = Version(version.files, "nearest_training", version.fingerprint)
    with build_once(version, run.progress.log) as is_ours:
        if is_ours:
            run.progress.log("measuring the real images")
            found = _build(real, samples, apart, nearest)
            seal(_notes(*found[:3]))
        else:
            found = _load(real, samples)
    return ReferenceSet(version, samples, nearest, samples.held_out.size - len(apart), *found)


def _version(run: StageContext) -> tuple[Version, Callable[[dict[str, Any]], object]]:
    """Version for these images and settings, and a function that seals it with notes."""
    sections = values_at(run.config.model_dump(mode="json"), SECTIONS)
    inputs = {table: run.inputs[table].require_manifest().content_hash for table in ("images", "autoencoder")}
    inputs["feature weights"] = features_content_hash(run.config)
    version = Version(run.output.files, TABLE, fingerprint(TABLE, SCHEMA, sections, inputs))
    made_by = {"vapray": __version__, "python": platform.python_version()}
    began = time.monotonic()

    def seal(notes: dict[str, Any]) -> None:
        seconds = time.monotonic() - began
        version.seal(stage=run.name, sections=sections, inputs=inputs, seconds=seconds, versions=made_by, notes=notes)

    return version, seal


@contextlib.contextmanager
def build_once(version: Version, log: Callable[[str], None]) -> Iterator[bool]:
    """Yield True if this run must build the version; wait while another run builds it."""
    if version.manifest() is not None:
        yield False
        return
    with version.lease(lambda held: log(f"waiting for another run that measures the real images: {held}")):
        version.adopt_parts(log)
        yield version.manifest() is None  # another run may have finished it meanwhile


def _build(
    run: StageContext, samples: RealSamples, apart: Set[str], nearest: Version
) -> tuple[Classifier, AttributeJudge | None, FeatureSpace, FeatureStatistics]:
    with ThreadPoolExecutor(1) as beside:
        judging = beside.submit(judge_of, run)
        classifier, space = _run_remote(_prepare, run, samples)
        judge = judging.result()
    _measure(run, samples.held_out_split, classifier, judge)
    statistics = _statistics(run.output, samples)
    looked_up = pa.array([f"image/{image_id}" for image_id in apart], pa.string())
    wanted = (pc.field("set") == "planted") | (pc.field("set") == "held_out") & pc.field("key").isin(looked_up)
    others = (part.filter(wanted) for part in run.output.read_parts(COLUMNS))
    candidates = select_candidates(pa.concat_tables(others), apart, SEED)
    search_training_set(run, run.output.unread(), statistics, candidates, nearest)
    return classifier, judge, space, statistics


def _load(
    run: StageContext, samples: RealSamples
) -> tuple[Classifier, AttributeJudge | None, FeatureSpace, FeatureStatistics]:
    classifier, space = _run_remote(_load_prepared, run, samples)
    return classifier, judge_of(run), space, _statistics(run.output, samples)


def _run_remote(prepare: _Prepare, run: StageContext, samples: RealSamples) -> tuple[Classifier, FeatureSpace]:
    held_out = Counter(samples.held_out_rows["label"].to_pylist())
    arguments = (run.config, run.inputs["images"], run.output, held_out)
    found: tuple[Classifier, FeatureSpace] = run_remote(
        run.name, prepare, *arguments, pool=run.config.pools.evaluate, log=run.progress.log
    )
    return found


def _notes(classifier: Classifier, judge: AttributeJudge | None, space: FeatureSpace) -> dict[str, Any]:
    files = {"classifier_sha256": classifier.to_safetensors()}
    if judge:
        files["judge_sha256"] = judge.to_safetensors()
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    return digests | {"extractor_sha256": space.sha256, "resize": space.resize}


def _load_prepared(
    config: Config, images: Version, output: Version, held_out: Mapping[int, int]
) -> tuple[Classifier, FeatureSpace]:
    """Load the classifier of a finished set; train it again if its file is damaged."""
    classifier = stored_classifier(output, _class_count(images), config.data.image_size)
    if classifier is None:
        return _prepare(config, images, output, held_out)
    return classifier, build_measurer(config, classifier).space


def _prepare(
    config: Config, images: Version, output: Version, held_out: Mapping[int, int]
) -> tuple[Classifier, FeatureSpace]:
    """Train the classifier, and measure class means and planted copies; all three need training images at once.

    Args:
        config: Complete config.
        images: Version of the table ``images``.
        output: Version of ``reference_measurements``.
        held_out: Number of held-out images to compare with, by class.
    """
    side = config.data.image_size
    classifier = stored_classifier(output, _class_count(images), side)  # existing rows may depend on it
    sample = ImageSample.draw(images_of(images, ["image_id", "label"], "train"), config.evaluate.classifier_images)
    training = sample.rows(images, ["path"], "train").to_pylist()
    frames, kept, _ = load_square_images([row["path"] for row in training], side)
    labels = np.array([training[position]["label"] for position in kept], dtype=np.int64)
    ids = [training[position]["image_id"] for position in kept]
    if classifier is None:
        steps = config.evaluate.classifier_steps
        classifier = train_classifier(frames, labels, _class_count(images), seed=SEED, steps=steps)
        output.files.write(f"{output.folder}/files/{CLASSIFIER}", classifier.to_safetensors())
    measurer = build_measurer(config, classifier)
    counts = {label: count for label, count in held_out.items() if label in labels}
    means, owners = class_mean_images(frames, labels, counts, np.random.default_rng(SEED))
    names = [f"{number:06d}" for number in range(len(means))]
    done = measurer.rows("class_mean", names, owners.tolist(), means) + _planted(frames, ids, labels, measurer)
    output.write_part(build_part(output.table_spec, done), Span.whole("training images", len(done)))
    return classifier, measurer.space


def _class_count(images: Version) -> int:
    return len(images.require_manifest().notes["class_names"])


def _planted(
    frames: NDArray[np.uint8], ids: list[str], labels: NDArray[np.int64], measurer: ImageMeasurer
) -> list[dict[str, Any]]:
    rng = np.random.default_rng(SEED)
    drawn = rng.permutation(len(frames))[:PLANTED]
    copies = {(row, kind): copy for row in drawn for kind, copy in plant(frames[row], rng).items()}
    names = [f"{ids[row]}/{kind}" for row, kind in copies]
    return measurer.rows("planted", names, [int(labels[row]) for row, _ in copies], np.stack(list(copies.values())))


def _measure(run: StageContext, held_out: str, classifier: Classifier, judge: AttributeJudge | None) -> None:
    map_rows(
        run,
        run.inputs["images"],
        partial(MeasureRealImages, run.config, run.inputs["autoencoder"], classifier, judge),
        pool=run.config.pools.evaluate,
        columns=["image_id", "label", "split", "path"],
        where={"split": ["train", held_out]},
    )


def _statistics(version: Version, samples: RealSamples) -> FeatureStatistics:
    rows = samples.measured(version, ["features"], ["reference"])
    return FeatureStatistics.of(stack_features(rows.to_pylist()))
