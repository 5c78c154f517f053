"""Laws of FID and its statistics."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from vapray.errors import DataError
from vapray.metrics.frechet import FeatureStatistics, frechet_distance, sum_of_singular_values

Features = NDArray[np.float64]


def gaussian(count: int, width: int, seed: int, shift: float = 0.0) -> Features:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, width)) @ rng.standard_normal((width, width)) + shift


def fid(a: Features, b: Features) -> float:
    return frechet_distance(FeatureStatistics.of(a), FeatureStatistics.of(b))


@pytest.mark.parametrize("count", [200, 10])
def test_a_set_is_at_distance_zero_from_itself_also_when_its_covariance_is_singular(count: int) -> None:
    features = gaussian(count, 32, 0)
    assert fid(features, features) <= 1e-6 * np.trace(np.cov(features, rowvar=False))


def test_the_distance_is_symmetric() -> None:
    a, b = gaussian(300, 24, 0), gaussian(11, 24, 1, 0.5)
    assert fid(a, b) == pytest.approx(fid(b, a), rel=1e-10)


def test_known_gaussians_have_the_distance_of_the_formula() -> None:
    count, mean, variance = 1000, np.array([3.0, 4.0]), np.array([4.0, 9.0])
    a = FeatureStatistics(count, np.zeros(2), np.eye(2) * (count - 1))
    b = FeatureStatistics(count, mean, np.diag(variance) * (count - 1))
    assert frechet_distance(a, b) == pytest.approx(25.0 + (2 - 1) ** 2 + (3 - 1) ** 2, rel=1e-12)


def test_it_matches_torch_fidelity_on_the_same_features_to_1e_9() -> None:
    a, b = gaussian(400, 48, 0), gaussian(500, 48, 1, 0.3)
    reference = fid_statistics_to_metric(
        fid_features_to_statistics(torch.from_numpy(a)),
        fid_features_to_statistics(torch.from_numpy(b)),
        False,
    )["frechet_inception_distance"]
    assert fid(a, b) == pytest.approx(reference, rel=1e-9)


def test_it_matches_torchmetrics_on_the_same_features_to_1e_9() -> None:
    from torchmetrics.image.fid import _compute_fid

    a, b = gaussian(400, 48, 2), gaussian(500, 48, 3, 0.3)
    moments = [torch.from_numpy(value) for x in (a, b) for value in (x.mean(axis=0), np.cov(x, rowvar=False))]
    assert fid(a, b) == pytest.approx(float(_compute_fid(*moments)), rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 120), max_size=6), st.randoms(use_true_random=False))
def test_statistics_do_not_depend_on_how_rows_are_sharded(cuts: list[int], random: object) -> None:
    features = gaussian(120, 8, 0, shift=100.0)
    shards = [FeatureStatistics.of(part) for part in np.split(features, sorted(cuts))]
    random.shuffle(shards)  # type: ignore[attr-defined]
    merged = FeatureStatistics.empty(8)
    for shard in shards:
        merged = merged.merge(shard)
    whole = FeatureStatistics.of(features)
    assert merged.count == whole.count
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(merged.scatter, whole.scatter, atol=1e-12 * np.abs(whole.scatter).max())
    other = FeatureStatistics.of(gaussian(90, 8, 1, shift=101.0))
    assert frechet_distance(merged, other) == pytest.approx(frechet_distance(whole, other), rel=1e-12)


@pytest.mark.parametrize("shards", [1, 3, 16, 300])
def test_fid_does_not_depend_on_the_number_of_shards_where_covariances_are_singular(shards: int) -> None:
    features, other = gaussian(300, 400, 0, shift=20.0), gaussian(350, 400, 1, shift=20.5)
    merged = FeatureStatistics.empty(400)
    for part in np.array_split(features, shards):
        merged = merged.merge(FeatureStatistics.of(part))
    whole = FeatureStatistics.of(features)
    np.testing.assert_allclose(merged.scatter, whole.scatter, atol=1e-12 * np.abs(whole.scatter).max())
    assert frechet_distance(merged, FeatureStatistics.of(other)) == pytest.approx(fid(features, other), rel=1e-6)


def test_a_singular_covariance_gives_the_root_of_scipy() -> None:
    import scipy.linalg

    a, b = gaussian(12, 16, 0), gaussian(400, 16, 1)
    covariances = [np.cov(x, rowvar=False) for x in (a, b)]
    root_b = scipy.linalg.sqrtm(covariances[1])
    # tr (A B)^(1/2) of a singular A as that of B^(1/2) A B^(1/2), which is symmetric.
    cross = np.sqrt(np.clip(scipy.linalg.eigvalsh(root_b @ covariances[0] @ root_b), 0, None)).sum()
    shift = a.mean(axis=0) - b.mean(axis=0)
    wanted = shift @ shift + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * cross
    assert fid(a, b) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(("smallest", "needs_svd"), [(1e-1, False), (1e-3, False), (1e-7, True), (0.0, True)])
@pytest.mark.parametrize("shape", [(60, 60), (40, 60), (60, 40)])
def test_singular_values_add_up_however_small_some_are(smallest, needs_svd, shape, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    values = np.append(np.geomspace(1.0, max(smallest, 1e-7), min(shape) - 1), smallest)
    left, right = (np.linalg.qr(rng.standard_normal((side, len(values))))[0] for side in shape)
    asked, worked_out = [], scipy.linalg.svdvals
    monkeypatch.setattr(scipy.linalg, "svdvals", lambda matrix: asked.append(1) or worked_out(matrix))
    assert sum_of_singular_values(left * values @ right.T) == pytest.approx(values.sum(), rel=2e-9)
    assert bool(asked) == needs_svd


def test_streamed_updates_equal_one_pass() -> None:
    features = gaussian(100, 8, 0)
    streamed = FeatureStatistics.empty(8)
    for batch in np.array_split(features, 7):
        streamed.update(batch)
    np.testing.assert_allclose(streamed.covariance, np.cov(features, rowvar=False), rtol=1e-10)


def test_scaled_statistics_are_those_of_scaled_features() -> None:
    reference, other = gaussian(100, 8, 0), gaussian(60, 8, 1)
    reference[:, 3] = 7.0
    scale = FeatureStatistics.of(reference).scale
    assert scale[3] == 1.0
    direct, scaled = FeatureStatistics.of(other / scale), FeatureStatistics.of(other).scaled(scale)
    np.testing.assert_allclose(scaled.mean, direct.mean, rtol=1e-10)
    np.testing.assert_allclose(scaled.scatter, direct.scatter, rtol=1e-10, atol=1e-10)


def test_the_distance_of_scaled_features_does_not_depend_on_their_units() -> None:
    a, b = gaussian(200, 8, 0), gaussian(200, 8, 1)
    units = np.geomspace(1e-2, 1e3, 8)

    def scaled_fid(x: Features, y: Features) -> float:
        scale = FeatureStatistics.of(x).scale
        return fid(x / scale, y / scale)

    assert scaled_fid(a, b) == pytest.approx(scaled_fid(a * units, b * units), rel=1e-9)


def test_features_that_are_not_finite_or_of_another_width_are_refused() -> None:
    with pytest.raises(DataError, match="finite"):
        FeatureStatistics.of(np.array([[1.0, np.nan]]))
    with pytest.raises(DataError, match="width"):
        fid(gaussian(5, 3, 0), gaussian(5, 4, 0))
    with pytest.raises(DataError, match="at least 2"):
        fid(gaussian(1, 3, 0), gaussian(5, 3, 0))
