"""A generated set against its reference: distances with intervals, in all and per class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vapray.errors import DataError
from vapray.evaluation.extractors.extractor import FeatureExtractor, FeatureSpace
from vapray.evaluation.frechet import FeatureStatistics, frechet_distance
from vapray.evaluation.intervals import Interval, half_sampling_around, random_halves
from vapray.evaluation.kernel import kernel_mmd2
from vapray.evaluation.pairwise import pairwise_scores

Features = NDArray[np.float64]
FID_MIN_CLASS_IMAGES = 300
"""Below it a class gets KID only: FID's bias with the number of images would be most of the number."""


@dataclass(frozen=True)
class FeatureSet:
    """Features and where they come from, so that unlike sets are never compared."""

    features: Features
    """[N, F], not yet scaled."""
    labels: NDArray[np.int64]
    """[N]."""
    space: FeatureSpace
    preparation: str
    """How pictures became arrays, as the data room names it; equal for sets that may be compared."""

    @property
    def origin(self) -> tuple[str, str, int, str]:
        """What must agree before two sets are compared."""
        return self.space.name, self.space.sha256, self.space.resize, self.preparation


def extract(
    extractor: FeatureExtractor, images: NDArray[np.uint8], labels: NDArray[np.int64], preparation: str
) -> FeatureSet:
    """Features of pictures [N, H, W, 3] with labels [N].

    Raises:
        DataError: as many labels as pictures are wanted.
    """
    if len(images) != len(labels):
        raise DataError(f"{len(images)} pictures and {len(labels)} labels")
    features = np.asarray(extractor(images), dtype=np.float64)
    return FeatureSet(features, labels, extractor.space, preparation)


@dataclass(frozen=True)
class SetScores:
    """A generated set's distance to the reference, of features that :func:`standardised` gives."""

    fid: float
    kid: float
    precision: float
    recall: float
    density: float
    coverage: float
    intervals: dict[str, Interval]
    """Of fid and kid."""
    n_reference: int
    n_generated: int


@dataclass(frozen=True)
class ClassScores:
    """One class's row; ``fid`` is None below ``FID_MIN_CLASS_IMAGES``, ``kid`` below two images."""

    label: int
    n_reference: int
    n_generated: int
    kid: float | None
    fid: float | None


def _fid(reference: Features, generated: Features) -> float:
    return frechet_distance(FeatureStatistics.of(reference), FeatureStatistics.of(generated))


def _refuse_unlike(reference: FeatureSet, generated: FeatureSet) -> None:
    if reference.origin != generated.origin:
        raise DataError(
            f"these sets were prepared differently and cannot be compared: reference {reference.origin}, "
            f"generated {generated.origin}. Extract both again with the same settings."
        )


def standardised(reference: FeatureSet, generated: FeatureSet) -> tuple[Features, Features]:
    """Both with the reference's mean taken away and divided by its deviations; as they are if their space says so.

    The mean does not matter to FID. It does to KID: features far from 0 would rule its cubic kernel. Published numbers
    are of Inception's features as they are, so these stay.

    Raises:
        DataError: the sets were prepared differently.
    """
    _refuse_unlike(reference, generated)
    if not reference.space.standardised:
        return reference.features, generated.features
    statistics = FeatureStatistics.of(reference.features)
    real, made = ((x.features - statistics.mean) / statistics.scale for x in (reference, generated))
    return real, made


def fid_between(reference: FeatureSet, generated: FeatureSet) -> float:
    """FID alone, for the floors.

    Raises:
        DataError: the sets were prepared differently.
    """
    return _fid(*standardised(reference, generated))


def kid_between(reference: FeatureSet, generated: FeatureSet) -> float:
    """KID alone, for the floors.

    Raises:
        DataError: the sets were prepared differently, or one has fewer than two images.
    """
    return kernel_mmd2(*standardised(reference, generated))


def compare_sets(
    reference: FeatureSet, generated: FeatureSet, *, draws: int = 40, k: int = 3, seed: int = 0
) -> SetScores:
    """All distances of ``generated`` to ``reference``, with half-sampling intervals of ``draws`` halves.

    Raises:
        DataError: the sets were prepared differently, or one has k or fewer images.
    """
    real, made = standardised(reference, generated)
    halves = random_halves([len(real), len(made)], draws, seed)
    pairs = pairwise_scores(real, made, halves, k=k, seed=seed)
    fid, near = _fid(real, made), pairs.near
    fid_of_halves = [_fid(real[some], made[others]) for some, others in halves]
    intervals = {
        "fid": half_sampling_around(fid, fid_of_halves),
        "kid": half_sampling_around(pairs.kid, pairs.kid_of_halves),
    }
    return SetScores(
        fid,
        pairs.kid,
        near.precision,
        near.recall,
        near.density,
        near.coverage,
        intervals,
        len(real),
        len(made),
    )


def compare_classes(
    reference: FeatureSet, generated: FeatureSet, labels: Sequence[int] | None = None
) -> tuple[ClassScores, ...]:
    """A row per class of ``labels``, by default all; features are standardised on the whole reference.

    Raises:
        DataError: the sets were prepared differently.
    """
    real, made = standardised(reference, generated)
    if labels is None:
        labels = np.union1d(reference.labels, generated.labels).tolist()
    return tuple(
        _class_scores(real[reference.labels == label], made[generated.labels == label], label) for label in labels
    )


def _class_scores(real: Features, made: Features, label: int) -> ClassScores:
    fewest = min(len(real), len(made))
    return ClassScores(
        label,
        len(real),
        len(made),
        kernel_mmd2(real, made) if fewest >= 2 else None,
        _fid(real, made) if fewest >= FID_MIN_CLASS_IMAGES else None,
    )


def size_warnings(n_real: int, n_generated: int, width: int, name: str = "generated") -> tuple[str, ...]:
    """What a reader must know when a set has fewer images than the extractor has features; ``name`` of the second."""
    counts: dict[str, Any] = {"real": n_real, name: n_generated}
    return tuple(
        f"{count} {name} images are fewer than the {width} features: FID is biased upward; trust KID more."
        for name, count in counts.items()
        if count < width
    )
