"""Distances of a generated set to its reference, with intervals, overall and per class."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vapray.errors import DataError
from vapray.evaluation.extractors.extractor import FeatureSpace
from vapray.metrics.frechet import FeatureStatistics, frechet_distance
from vapray.metrics.intervals import Interval, half_sampling_around, random_halves
from vapray.metrics.kid import kernel_mmd2
from vapray.metrics.kid_and_prdc import kid_and_prdc
from vapray.metrics.nearest import median_nearest_distance
from vapray.metrics.prdc import PRDCScores

Features = NDArray[np.float64]
Drawn = TypeVar("Drawn", bound=np.generic)
FID_MIN_CLASS_IMAGES = 300
"""Fewest images of a class for FID; below it only KID is computed, because FID's bias would dominate."""


@dataclass(frozen=True)
class FeatureSet:
    """Features and their origin, which prevents the comparison of incompatible sets."""

    features: Features
    """Features [N, F], not scaled."""
    labels: NDArray[np.int64]
    """Class indices [N]."""
    space: FeatureSpace
    preparation: str
    """Description of decoding and cropping; equal for sets that may be compared."""

    @property
    def origin(self) -> tuple[str, str, int, str]:
        """Values that must agree between compared sets."""
        return self.space.name, self.space.sha256, self.space.resize, self.preparation


@dataclass(frozen=True)
class SetMetrics:
    """Distances of a generated set to the reference, in features from :func:`standardize`."""

    fid: float
    kid: float
    prdc: PRDCScores
    """Precision, recall, density and coverage."""
    intervals: dict[str, Interval]
    """Half-sampling intervals of ``fid`` and ``kid``."""


@dataclass(frozen=True)
class ClassScores:
    """Distances of one class; ``fid`` is None below ``FID_MIN_CLASS_IMAGES`` images, ``kid`` below two."""

    label: int
    n_reference: int
    n_generated: int
    kid: float | None
    fid: float | None


def _fid(reference: Features, generated: Features) -> float:
    return frechet_distance(FeatureStatistics.of(reference), FeatureStatistics.of(generated))


def _check_same_origin(reference: FeatureSet, generated: FeatureSet) -> None:
    if reference.origin != generated.origin:
        raise DataError(
            f"these sets were prepared differently and cannot be compared: reference {reference.origin}, "
            f"generated {generated.origin}. Fix: extract both again with the same settings."
        )


def standardize(reference: FeatureSet, generated: FeatureSet) -> tuple[Features, Features]:
    """Standardize both sets by the reference's mean and standard deviations, unless their feature space forbids it.

    The mean does not affect FID. It affects KID: features far from 0 would dominate its cubic kernel. Published numbers
    use unscaled Inception features, so these are not standardized.

    Raises:
        DataError: the sets were prepared differently.
    """
    _check_same_origin(reference, generated)
    if not reference.space.standardized:
        return reference.features, generated.features
    statistics = FeatureStatistics.of(reference.features)
    real, made = ((x.features - statistics.mean) / statistics.scale for x in (reference, generated))
    return real, made


def fid_of_sets(reference: FeatureSet, generated: FeatureSet) -> float:
    """Compute FID only, for the floors.

    Raises:
        DataError: the sets were prepared differently.
    """
    return _fid(*standardize(reference, generated))


def kid_of_sets(reference: FeatureSet, generated: FeatureSet, *, most_pairs: int | None = None, seed: int = 0) -> float:
    """Compute KID only, for the floors; ``most_pairs`` and ``seed`` are those of :func:`compare_sets`.

    Raises:
        DataError: the sets were prepared differently, or a set has fewer than two images.
    """
    real, made = (drawn_rows(features, most_pairs, seed) for features in standardize(reference, generated))
    return kernel_mmd2(real, made)


def compare_sets(
    reference: FeatureSet,
    generated: FeatureSet,
    *,
    draws: int = 40,
    k: int = 3,
    seed: int = 0,
    most_pairs: int | None = None,
) -> SetMetrics:
    """Compute all distances of ``generated`` to ``reference``, with half-sampling intervals from ``draws`` halves.

    Args:
        reference: Real images.
        generated: Generated images.
        draws: Number of halves.
        k: Neighbours of precision, recall, density and coverage.
        seed: Seed of the halves, and of what is drawn.
        most_pairs: Images of each side for KID and these four; of more so many are drawn. None: all.

    Raises:
        DataError: the sets were prepared differently, or a set has k or fewer images.
    """
    real, made = standardize(reference, generated)
    halves = random_halves([len(real), len(made)], draws, seed)
    some_real, some_made = (drawn_rows(features, most_pairs, seed) for features in (real, made))
    is_all = len(some_real) == len(real) and len(some_made) == len(made)
    halves_of_pairs = halves if is_all else random_halves([len(some_real), len(some_made)], draws, seed)
    pairs = kid_and_prdc(some_real, some_made, halves_of_pairs, k=k, seed=seed)
    fid = _fid(real, made)
    fid_of_halves = [_fid(real[some], made[others]) for some, others in halves]
    return SetMetrics(
        fid=fid,
        kid=pairs.kid,
        prdc=pairs.prdc,
        intervals={
            "fid": half_sampling_around(fid, fid_of_halves),
            "kid": half_sampling_around(pairs.kid, pairs.kid_of_halves),
        },
    )


def drawn_rows(rows: NDArray[Drawn], most: int | None, seed: int) -> NDArray[Drawn]:
    """Draw at most so many rows without repetition, in their order."""
    if most is None or len(rows) <= most:
        return rows
    return rows[np.sort(np.random.default_rng(seed).permutation(len(rows))[:most])]


def compare_classes(
    reference: FeatureSet,
    generated: FeatureSet,
    labels: Sequence[int] | None = None,
    *,
    most_pairs: int | None = None,
) -> tuple[ClassScores, ...]:
    """Compute distances per class of ``labels``, by default all; features are standardized by the complete reference.

    ``most_pairs`` limits the images of a class for KID, as in :func:`compare_sets`.

    Raises:
        DataError: the sets were prepared differently.
    """
    real, made = standardize(reference, generated)
    if labels is None:
        labels = np.union1d(reference.labels, generated.labels).tolist()
    return tuple(
        _class_scores(real[reference.labels == label], made[generated.labels == label], label, most_pairs)
        for label in labels
    )


def _class_scores(real: Features, made: Features, label: int, most_pairs: int | None) -> ClassScores:
    some_real, some_made = (drawn_rows(features, most_pairs, label) for features in (real, made))
    fewest = min(len(real), len(made))
    return ClassScores(
        label,
        len(real),
        len(made),
        kernel_mmd2(some_real, some_made) if fewest >= 2 else None,
        _fid(real, made) if fewest >= FID_MIN_CLASS_IMAGES else None,
    )


def size_warnings(n_real: int, n_generated: int, width: int, name: str = "generated") -> tuple[str, ...]:
    """Warn about sets with fewer images than the extractor has features; ``name`` is that of the second set."""
    counts: dict[str, Any] = {"real": n_real, name: n_generated}
    return tuple(
        f"{count} {name} images are fewer than the {width} features: FID is biased upward; trust KID more."
        for name, count in counts.items()
        if count < width
    )


def nearest_distance(reference: FeatureSet, queries: FeatureSet, most: int | None = None, seed: int = 0) -> float:
    """Median distance of images to their nearest reference image; features are standardized by the reference.

    Of more than ``most`` queries so many are drawn.

    Raises:
        DataError: the sets were prepared differently.
    """
    real, some = standardize(reference, queries)
    labels = drawn_rows(queries.labels, most, seed)
    return median_nearest_distance(real, drawn_rows(some, most, seed), labels)


def relative_distance(
    reference: FeatureSet, held_out: FeatureSet, generated: FeatureSet, *, most: int | None = None, seed: int = 0
) -> float:
    """Median distance of generated images to their nearest training image, relative to that of held-out images.

    Held-out real images are the baseline: they were not trained on. :mod:`vapray.memorisation` finds single copies.

    Returns:
        The ratio; NaN if held-out images are copies of training images.

    Raises:
        DataError: the sets were prepared differently.
    """
    usual = nearest_distance(reference, held_out, most, seed)
    return nearest_distance(reference, generated, most, seed) / usual if usual else math.nan
