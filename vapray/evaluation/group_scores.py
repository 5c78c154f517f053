"""Numbers of generated images by groups of patients or images: fidelity, adherence, copies, label accuracy.

A generated image belongs to the group of the real image whose caption and class it was generated for, its owner. A
copy belongs to the group of the training image that is copied.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vapray.captioning.prompt_set import PromptSet
from vapray.config import Config
from vapray.data.image_groups import Grouping
from vapray.data.origins import UNKNOWN
from vapray.evaluation.adherence import score_images
from vapray.evaluation.extractors.extractor import FeatureSpace
from vapray.evaluation.measurement import feature_set, probabilities_of
from vapray.evaluation.set_metrics import standardize
from vapray.evaluation.summary import captioned_images, mentioned_scores
from vapray.memorisation.audit import Copied
from vapray.metrics.group_differences import (
    Difference,
    Estimate,
    Share,
    balanced_mean,
    compare_groups,
    compare_shares,
    correct,
)
from vapray.metrics.intervals import bootstrap_interval, half_sampling_around, random_halves
from vapray.metrics.kid_and_prdc import kid_and_prdc
from vapray.metrics.prdc import PRDCScores

__all__ = ["GroupAdherence", "GroupColumn", "GroupScores", "MeasuredImages", "compare_columns", "score_groups"]

HALVES = 200
"""Number of random halves for the interval of KID."""
MAX_IMAGES = 5000
"""Largest number of images of a group and set that KID, precision and recall use; KID is unbiased at any number."""
SETS = ("reference", "held_out", "generated")
Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class GroupAdherence:
    """Caption adherence of one group, over images with a control in their class."""

    value: float
    shuffled: float
    """Control: the same images against captions of other images of their class, of any group."""
    excess: Estimate
    """Adherence minus control."""


@dataclass(frozen=True)
class GroupScores:
    """Numbers of one group; None where it has too few images, or the run does not measure them."""

    name: str
    n_training: int
    n_held_out: int
    n_generated: int
    kid: Estimate | None = None
    """KID of its generated images to its training images."""
    kid_held_out: Estimate | None = None
    """KID of its held-out real images to its training images: the floor."""
    precision: float | None = None
    recall: float | None = None
    adherence: GroupAdherence | None = None
    label_accuracy: Estimate | None = None
    """Mean over classes of the share of its generated images that the classifier assigns to their class."""
    copies_certain: Share | None = None
    """Training images of the group of which a generated image is as near as planted copies are."""
    copies_suspected: Share | None = None
    """The same within the distance of the nearest 1 % of held-out images; includes certain copies."""

    @property
    def is_scored(self) -> bool:
        """True if the group has enough training and generated images."""
        return self.kid is not None


@dataclass(frozen=True)
class GroupColumn:
    """Groups of one column, in order."""

    column: str
    rule: str
    groups: tuple[GroupScores, ...]


@dataclass(frozen=True)
class MeasuredImages:
    """Measurements of a run.

    Attributes:
        rows: Rows of ``measurements`` and ``reference_measurements``.
        captions: Caption of each generated image, by key of the measurement.
        sources: Key of the real image whose caption was used, by key of the generated image.
        copied: Keys of the training images that are copied.
        untrusted: Attributes that the texts for training do not state.
    """

    rows: Rows
    captions: Mapping[str, str]
    sources: Mapping[str, str]
    copied: Copied
    untrusted: Collection[str] = ()


def score_groups(
    groupings: Sequence[Grouping], measured: MeasuredImages, prompt_set: PromptSet, space: FeatureSpace, config: Config
) -> tuple[GroupColumn, ...]:
    """Compute the numbers of all groups of all columns."""
    columns = _Columns(measured, prompt_set, space, config)
    return tuple(columns.score(grouping) for grouping in groupings)


class _Columns:
    """Values of every image, from which the numbers of any group are computed."""

    def __init__(self, measured: MeasuredImages, prompt_set: PromptSet, space: FeatureSpace, config: Config) -> None:
        sets = {name: [row for row in measured.rows if row["set"] == name] for name in SETS}
        features = {name: feature_set(rows, space, config) for name, rows in sets.items()}
        self._config, self._settings, self._copied = config, config.evaluate, measured.copied
        self._features = {name: standardize(features["reference"], some)[1] for name, some in features.items()}
        self._labels = features["generated"].labels
        self._right = (probabilities_of(sets["generated"]).argmax(axis=1) == self._labels).astype(np.float64)
        self._owners = {name: [row["key"] for row in rows] for name, rows in sets.items()}
        self._owners["generated"] = [measured.sources.get(row["key"], "") for row in sets["generated"]]
        self._scores = _adherence(sets["generated"], measured, prompt_set, config)

    def score(self, grouping: Grouping) -> GroupColumn:
        of_row = {
            name: np.array([grouping.of_image.get(owner.removeprefix("image/"), "") for owner in owners], dtype=object)
            for name, owners in self._owners.items()
        }
        return GroupColumn(
            grouping.column,
            grouping.rule,
            tuple(
                self._group(name, {group: np.flatnonzero(names == name) for group, names in of_row.items()})
                for name in grouping.names
            ),
        )

    def _group(self, name: str, rows: Mapping[str, NDArray[np.int64]]) -> GroupScores:
        training, held_out, made = (rows[group] for group in SETS)
        least = self._settings.group_min_images
        counted = GroupScores(name, len(training), len(held_out), len(made))
        if len(training) >= least:
            certain, suspected = (self._share(training, copied) for copied in self._copied)
            counted = replace(counted, copies_certain=certain, copies_suspected=suspected)
        if min(len(training), len(made)) < least:
            return counted
        kid, prdc = self._distance(training, made, "generated")
        floor = self._distance(training, held_out, "held_out")[0] if len(held_out) >= least else None
        return replace(
            counted,
            kid=kid,
            kid_held_out=floor,
            precision=prdc.precision,
            recall=prdc.recall,
            adherence=self._group_adherence(made),
            label_accuracy=balanced_mean(self._right[made], self._labels[made], bounds=(0.0, 1.0)),
        )

    def _share(self, training: NDArray[np.int64], copied: set[str] | None) -> Share | None:
        if copied is None:
            return None
        return Share(sum(self._owners["reference"][row] in copied for row in training), len(training))

    def _distance(self, training: NDArray[np.int64], some: NDArray[np.int64], name: str) -> tuple[Estimate, PRDCScores]:
        seed = self._config.run.seed
        rng = np.random.default_rng(seed)
        real, made = (
            self._features[one][rng.permutation(rows)[:MAX_IMAGES]]
            for one, rows in (("reference", training), (name, some))
        )
        halves = random_halves([len(real), len(made)], HALVES, seed)
        found = kid_and_prdc(
            real, made, halves, k=min(self._settings.nearest_k, len(real) - 1, len(made) - 1), seed=seed
        )
        interval = half_sampling_around(found.kid, found.kid_of_halves)
        deviation = float(found.kid_of_halves.std(ddof=1))
        return Estimate(found.kid, deviation, HALVES - 1, len(made), interval), found.prdc

    def _group_adherence(self, made: NDArray[np.int64]) -> GroupAdherence | None:
        if self._scores is None:
            return None
        pairs = self._scores[made]
        pairs = pairs[np.isfinite(pairs).all(axis=1)]
        if len(pairs) < self._settings.group_min_images:
            return None
        excess = pairs[:, 0] - pairs[:, 1]
        draws, seed = self._settings.bootstrap_samples, self._config.run.seed
        interval = bootstrap_interval(lambda some: float(some.mean()), [excess], draws=draws, seed=seed)
        deviation = float(excess.std(ddof=1) / np.sqrt(len(excess)))
        found = Estimate(float(excess.mean()), deviation, len(excess) - 1, len(excess), interval)
        value, shuffled = pairs.mean(axis=0).tolist()
        return GroupAdherence(value, shuffled, found)


def _adherence(
    generated: Rows, measured: MeasuredImages, prompt_set: PromptSet, config: Config
) -> NDArray[np.float64] | None:
    """Adherence and control of each generated image, [N, 2]; None if no attributes are measured.

    The attribute judge gives them where image analysis does not.
    """
    column = next((name for name in ("attributes", "judged") if generated and generated[0][name] is not None), None)
    if column is None:
        return None
    if column == "judged":  # what the judge does not know is no fault of the image
        known = json.loads(generated[0][column])
        prompt_set = replace(prompt_set, attributes={name: prompt_set.attributes[name] for name in known})
    images = captioned_images(column, generated, measured.captions, prompt_set, measured.untrusted)
    rounds, seed = config.evaluate.shuffle_rounds, config.run.seed
    return score_images(images, mentioned_scores(prompt_set), rounds=rounds, seed=seed)


def compare_columns(columns: Sequence[GroupColumn]) -> tuple[Difference, ...]:
    """Compare the known groups of each column in every number that at least two of them have."""
    return tuple(correct([one for column in columns for one in _differences(column)]))


def _differences(column: GroupColumn) -> list[Difference]:
    found: list[Difference] = []
    known = [group for group in column.groups if group.name != UNKNOWN]
    numbers = {
        "kid": {group.name: group.kid for group in known if group.kid},
        "adherence": {group.name: group.adherence.excess for group in known if group.adherence},
        "label_accuracy": {group.name: group.label_accuracy for group in known if group.label_accuracy},
    }
    for name, values in numbers.items():
        found += compare_groups(column.column, name, values)
    copies = {group.name: group.copies_suspected for group in known if group.copies_suspected}
    return found + compare_shares(column.column, "copies_suspected", copies)
