"""Reduction of measurements to metrics, in the driver of the evaluate stage."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vapray.captioning.attributes import Attributes, agreement, attributes_from_json
from vapray.captioning.caption_parser import parse_caption
from vapray.captioning.prompt_set import PromptSet
from vapray.captioning.statement_removal import without
from vapray.config import Config
from vapray.config.captioning import MEASURED_MODALITY
from vapray.evaluation.adherence import Adherence, Agreement, CaptionedImages, measure_adherence
from vapray.evaluation.classifier import balanced_accuracy, class_accuracies
from vapray.evaluation.extractors.extractor import FeatureSpace
from vapray.evaluation.measurement import IMAGE_SETS, feature_set, probabilities_of
from vapray.evaluation.set_metrics import (
    ClassScores,
    FeatureSet,
    SetMetrics,
    compare_classes,
    compare_sets,
    drawn_rows,
    fid_of_sets,
    kid_of_sets,
    relative_distance,
    size_warnings,
    standardize,
)
from vapray.evaluation.source_rank import SourceRank, rank_sources
from vapray.metrics.inception import inception_score
from vapray.metrics.intervals import Interval, bootstrap_interval
from vapray.metrics.prd import PRDScores, prd_scores

__all__ = ["EvaluationSummary", "captioned_images", "mentioned_scores", "summarize"]

Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class JudgedAdherence:
    """Caption adherence by the attribute judge."""

    accuracy: Mapping[str, float]
    """By attribute: mean score of what the judge recognizes in held-out images against what was drawn."""
    adherence: Adherence


@dataclass(frozen=True)
class EvaluationSummary:
    """Results of the measurements, from which metrics and report are built."""

    scores: SetMetrics
    fid_floors: Mapping[str, float]
    """FID of ``held_out``, ``reconstructed``, ``untrained`` and ``class_mean`` against the reference."""
    kid_floors: Mapping[str, float]
    """KID of ``held_out`` and ``reconstructed`` against the reference."""
    classes: Sequence[ClassScores]
    class_accuracy: Mapping[int, float]
    label_accuracy: float
    label_accuracy_interval: Interval | None
    label_accuracy_real: float
    inception_score: float
    distributions: PRDScores | None
    """PRD scores; None unless ``evaluate.prd`` is set."""
    adherence: Adherence | None
    judge: JudgedAdherence | None
    """Adherence by the attribute judge; None without one."""
    source_rank: SourceRank | None
    relative_distance: float
    """Median distance to the nearest training image, relative to that of held-out images."""
    fid_at_held_out_count: float
    """FID of as many generated images as are held out, for comparison with real floors: FID falls with the count."""
    n_held_out: int
    n_real: int
    n_generated: int
    warnings: tuple[str, ...]


def summarize(
    rows: Rows,
    captions: Mapping[str, str],
    sources: Mapping[str, str],
    truths: Mapping[str, Attributes],
    prompt_set: PromptSet,
    space: FeatureSpace,
    config: Config,
    untrusted: Collection[str] = (),
) -> EvaluationSummary:
    """Reduce measurements to results.

    Args:
        rows: Rows of ``measurements`` and ``reference_measurements``, of every set.
        captions: Caption of each image of ``generated``, ``reconstructed`` and ``held_out``, by key of the measurement.
        sources: Key of the real image whose caption was used, by key of the generated image.
        truths: True attributes of held-out images, by key of the measurement; none unless they are phantoms.
        prompt_set: Prompt set that parses captions.
        space: Feature space of the rows.
        config: Complete config; sections ``data``, ``evaluate`` and ``run`` are used.
        untrusted: Attributes that the texts for training do not state; they are not part of caption adherence.
    """
    sets = {name: [row for row in rows if row["set"] == name] for name in IMAGE_SETS}
    features = {name: feature_set(some, space, config) for name, some in sets.items()}
    reference, generated = features["reference"], features["generated"]
    settings, seed, most = config.evaluate, config.run.seed, config.evaluate.pair_images
    floors = ("held_out", "reconstructed", "untrained", "class_mean")
    probabilities = probabilities_of(sets["generated"])
    return EvaluationSummary(
        scores=_scores(reference, generated, config),
        fid_floors={name: fid_of_sets(reference, features[name]) for name in floors},
        kid_floors={name: kid_of_sets(reference, features[name], most_pairs=most, seed=seed) for name in floors[:2]},
        classes=compare_classes(reference, generated, most_pairs=most),
        class_accuracy=class_accuracies(probabilities, generated.labels),
        label_accuracy=balanced_accuracy(probabilities, generated.labels),
        label_accuracy_interval=_label_interval(probabilities, generated.labels, config),
        label_accuracy_real=balanced_accuracy(probabilities_of(sets["held_out"]), features["held_out"].labels),
        inception_score=_inception_score(generated, probabilities, seed),
        distributions=_distribution_scores(reference, generated, config),
        adherence=_adherence(sets, captions, prompt_set, config, untrusted),
        judge=_judged(sets, captions, truths, prompt_set, config, untrusted),
        source_rank=rank_sources(sets, features, sources, draws=settings.bootstrap_samples, seed=seed),
        relative_distance=relative_distance(reference, features["held_out"], generated, most=most, seed=seed),
        fid_at_held_out_count=fid_of_sets(reference, _as_many(generated, len(features["held_out"].labels), seed)),
        n_held_out=len(features["held_out"].labels),
        n_real=len(reference.labels),
        n_generated=len(generated.labels),
        warnings=size_warnings(len(reference.labels), len(generated.labels), space.width),
    )


def _scores(reference: FeatureSet, generated: FeatureSet, config: Config) -> SetMetrics:
    asked, seed = config.evaluate, config.run.seed
    limits = {"k": asked.nearest_k, "most_pairs": asked.pair_images}
    return compare_sets(reference, generated, draws=asked.half_samples, seed=seed, **limits)


def _inception_score(generated: FeatureSet, judged: NDArray[np.float64], seed: int) -> float:
    """Inception Score from the feature network's classes, or from the classifier's ``judged`` if it has none."""
    known = generated.space.probabilities(generated.features)
    return inception_score(judged if known is None else known, seed=seed).mean


def _distribution_scores(reference: FeatureSet, generated: FeatureSet, config: Config) -> PRDScores | None:
    if not config.evaluate.prd:
        return None
    seed, most = config.run.seed, config.evaluate.pair_images
    return prd_scores(*(drawn_rows(one, most, seed) for one in standardize(reference, generated)), seed=seed)


def _as_many(features: FeatureSet, count: int, seed: int) -> FeatureSet:
    """Draw at most ``count`` of the images, without repetition."""
    rows = np.random.default_rng(seed).permutation(len(features.labels))[:count]
    return replace(features, features=features.features[rows], labels=features.labels[rows])


def _label_interval(probabilities: NDArray[np.float64], labels: NDArray[np.int64], config: Config) -> Interval | None:
    def accuracy(rows: NDArray[np.float64]) -> float:
        return balanced_accuracy(rows[:, :-1], rows[:, -1].astype(np.int64))

    images = np.column_stack([probabilities, labels])
    return bootstrap_interval(accuracy, [images], draws=config.evaluate.bootstrap_samples, seed=config.run.seed)


def _adherence(
    sets: Mapping[str, Rows],
    captions: Mapping[str, str],
    prompt_set: PromptSet,
    config: Config,
    untrusted: Collection[str],
) -> Adherence | None:
    """Measure caption adherence; None for a modality without measured attributes."""
    if config.data.modality != MEASURED_MODALITY:
        return None
    return _adherence_by("attributes", sets, captions, prompt_set, config, untrusted)


def _judged(
    sets: Mapping[str, Rows],
    captions: Mapping[str, str],
    truths: Mapping[str, Attributes],
    prompt_set: PromptSet,
    config: Config,
    untrusted: Collection[str],
) -> JudgedAdherence | None:
    if not config.evaluate.judge_steps or not truths:
        return None
    known = [(attributes_from_json(row["judged"]), truths[row["key"]]) for row in sets["held_out"]]
    specs = {name: spec for name, spec in prompt_set.attributes.items() if name in known[0][0]}
    judged = replace(prompt_set, attributes=specs)  # what the judge does not know is no fault of the image
    scores = [agreement(found, true, judged) for found, true in known]
    accuracy = {name: float(np.mean([score[name] for score in scores])) for name in specs}
    adherence = _adherence_by("judged", sets, captions, judged, config, untrusted)
    return JudgedAdherence(accuracy, adherence) if adherence else None


def _adherence_by(
    column: str,
    sets: Mapping[str, Rows],
    captions: Mapping[str, str],
    prompt_set: PromptSet,
    config: Config,
    untrusted: Collection[str],
) -> Adherence | None:
    """Measure adherence by the attributes in a column of the measurements; None if no attribute is trusted."""
    generated, real, original = (
        captioned_images(column, sets[name], captions, prompt_set, untrusted)
        for name in ("generated", "reconstructed", "held_out")
    )
    if untrusted and not any(generated.wanted):
        return None

    settings = config.evaluate
    return measure_adherence(
        generated,
        real,
        mentioned_scores(prompt_set),
        original=original,
        rounds=settings.shuffle_rounds,
        draws=settings.bootstrap_samples,
        seed=config.run.seed,
    )


def mentioned_scores(prompt_set: PromptSet) -> Agreement:
    """Build the score of an image against a caption: 0 for a mentioned attribute that the image does not show."""

    def score(found: Attributes, wanted: Attributes) -> dict[str, float]:
        return {
            name: 0.0 if math.isnan(value) else value for name, value in agreement(found, wanted, prompt_set).items()
        }

    return score


def captioned_images(
    column: str, rows: Rows, captions: Mapping[str, str], prompt_set: PromptSet, untrusted: Collection[str] = ()
) -> CaptionedImages:
    """Collect the attributes in a column of the measurements, and those of the captions, for images with a caption.

    Attributes in ``untrusted`` are not part of the captions'.
    """
    known = [row for row in rows if row["key"] in captions]
    wanted = [without(parse_caption(captions[row["key"]], prompt_set), untrusted, prompt_set) for row in known]
    return CaptionedImages(
        [attributes_from_json(row[column]) for row in known], wanted, [row["label"] for row in known]
    )
