"""Each fault of a generator moves each metric the right way, with the embedded extractor."""

from collections.abc import Callable

import numpy as np
import pytest

from vapray.errors import DataError
from vapray.evaluation.baselines import class_mean_images
from vapray.evaluation.features import RandomConvolutions
from vapray.evaluation.metric_specs import METRIC_SPECS
from vapray.evaluation.set_metrics import (
    FeatureSet,
    SetMetrics,
    compare_classes,
    compare_sets,
    fid_of_sets,
    size_warnings,
)

from .pictures import Images, blurred, noisy, scenes

EXTRACTOR = RandomConvolutions()


def features(
    images: Images,
    labels: np.ndarray,
    preparation: str = "test scenes",
    extractor: RandomConvolutions = EXTRACTOR,
) -> FeatureSet:
    return FeatureSet(extractor(images), labels, extractor.space, preparation)


@pytest.fixture(scope="module")
def reference() -> FeatureSet:
    return features(*scenes(300, 0))


@pytest.fixture(scope="module")
def held_out() -> FeatureSet:
    return features(*scenes(300, 1))


@pytest.fixture(scope="module")
def good(reference: FeatureSet, held_out: FeatureSet) -> SetMetrics:
    return compare_sets(reference, held_out, draws=10)


@pytest.mark.parametrize("spoil", [blurred, noisy])
def test_more_blur_or_noise_raises_fid_and_kid_and_lowers_precision(
    spoil: Callable[[Images, float], Images], reference: FeatureSet, good: SetMetrics
) -> None:
    images, labels = scenes(300, 1)
    slight, strong = (
        compare_sets(reference, features(spoil(images, amount), labels), draws=2)
        for amount in ((0.6, 2.0) if spoil is blurred else (10.0, 40.0))
    )
    assert good.fid < slight.fid < strong.fid
    assert good.kid < slight.kid < strong.kid
    assert good.prdc.precision > strong.prdc.precision
    assert strong.intervals["fid"].low > good.intervals["fid"].high


def test_duplicates_lower_recall_and_coverage_and_raise_fid_but_not_precision(
    reference: FeatureSet, good: SetMetrics
) -> None:
    images, labels = scenes(300, 1)
    few = np.arange(300) % 15
    duplicated = compare_sets(reference, features(images[few], labels[few]), draws=2)
    assert duplicated.prdc.recall < 0.5 * good.prdc.recall
    assert duplicated.prdc.coverage < good.prdc.coverage
    assert duplicated.fid > good.fid
    assert duplicated.prdc.precision > good.prdc.precision - 0.15


def test_a_collapse_to_one_class_raises_fid_and_lowers_recall_but_not_precision(
    reference: FeatureSet, good: SetMetrics
) -> None:
    images, labels = scenes(1500, 1)
    collapsed = compare_sets(reference, features(images[labels == 2], labels[labels == 2]), draws=2)
    assert collapsed.fid > 3 * good.fid
    assert collapsed.kid > 3 * abs(good.kid)
    assert collapsed.prdc.recall < 0.6 * good.prdc.recall
    assert collapsed.prdc.precision > good.prdc.precision - 0.15


def test_copies_of_the_reference_are_at_distance_zero_with_recall_one(reference: FeatureSet, good: SetMetrics) -> None:
    copies = compare_sets(reference, features(*scenes(300, 0)), draws=2)
    assert (copies.prdc.precision, copies.prdc.recall, copies.prdc.coverage) == (1.0, 1.0, 1.0)
    assert copies.fid < 1e-6 * good.fid
    assert copies.kid < 0 < good.kid + abs(copies.kid)


def test_a_collapse_lowers_coverage_and_density_of_noise_is_low(reference: FeatureSet, good: SetMetrics) -> None:
    images, labels = scenes(1500, 1)
    collapsed = compare_sets(reference, features(images[labels == 2], labels[labels == 2]), draws=2)
    assert collapsed.prdc.coverage < 0.6 * good.prdc.coverage
    noise = compare_sets(reference, features(noisy(images[:300], 60.0), labels[:300]), draws=2)
    assert noise.prdc.density < 0.5 * good.prdc.density


def test_the_class_mean_floor_is_far_above_the_real_split(reference: FeatureSet, held_out: FeatureSet) -> None:
    made = class_mean_images(*scenes(300, 0), dict.fromkeys(range(5), 60), np.random.default_rng(0))
    assert fid_of_sets(reference, features(*made)) > 10 * fid_of_sets(reference, held_out)


def test_a_class_with_few_images_gets_kid_only_and_the_spoilt_class_stands_out(reference: FeatureSet) -> None:
    images, labels = scenes(300, 1)
    images[labels == 3] = noisy(images[labels == 3], 40.0)
    spoilt = features(images, labels)
    rows = compare_classes(reference, spoilt, range(6))
    assert compare_classes(reference, spoilt) == rows[:5]
    assert [row.fid for row in rows] == [None] * 6
    assert rows[5].kid is None
    assert rows[5].n_generated == 0
    assert max(rows[:5], key=lambda row: row.kid or 0.0).label == 3


def test_sets_that_were_prepared_differently_are_refused(reference: FeatureSet) -> None:
    images, labels = scenes(300, 1)
    with pytest.raises(DataError, match="prepared differently"):
        fid_of_sets(reference, features(images, labels, "another crop"))
    with pytest.raises(DataError, match="prepared differently"):
        fid_of_sets(reference, features(images, labels, extractor=RandomConvolutions(resize=32)))


def test_fewer_images_than_features_are_warned_of() -> None:
    assert size_warnings(500, 96, 96) == ()
    (warning,) = size_warnings(500, 95, 96)
    assert "95 generated" in warning


def test_values_of_features_are_compared_within_one_feature_space_only():
    free = {spec.key for spec in METRIC_SPECS if not spec.needs_same_features}
    assert free.isdisjoint({"fid", "kid", "precision", "recall", "density", "coverage", "prd_f8", "prd_f1_8"})
