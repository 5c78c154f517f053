"""Laws of KID and of the Inception Score."""

import numpy as np
import pytest
import torch
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torchmetrics.image.kid import poly_mmd

from vapray.errors import DataError
from vapray.metrics.inception import inception_score
from vapray.metrics.kid import kernel_inception_distance, kernel_mmd2


def two_sets(n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 16)), 1.2 * rng.standard_normal((m, 16)) + 0.2


def test_full_set_kid_matches_torchmetrics_and_torch_fidelity_to_1e_9() -> None:
    a, b = two_sets(150, 150)
    torch_a, torch_b = torch.from_numpy(a), torch.from_numpy(b)
    fidelity = kid_features_to_metric(
        torch_a,
        torch_b,
        kid_subsets=1,
        kid_subset_size=150,
        kid_kernel="poly",
        kid_kernel_poly_degree=3,
        kid_kernel_poly_gamma=None,
        kid_kernel_poly_coef0=1,
        rng_seed=0,
        verbose=False,
    )["kernel_inception_distance_mean"]
    assert kernel_mmd2(a, b) == pytest.approx(fidelity, rel=1e-9)
    assert kernel_mmd2(a, b) == pytest.approx(float(poly_mmd(torch_a, torch_b)), rel=1e-9)
    assert kernel_inception_distance(a, b, subsets=3).mean == pytest.approx(fidelity, rel=1e-9)


def test_kid_does_not_depend_on_blocks_and_allows_unequal_sets() -> None:
    a, b = two_sets(101, 57)
    assert kernel_mmd2(a, b, block_rows=10) == pytest.approx(kernel_mmd2(a, b), rel=1e-10)
    assert kernel_mmd2(a, b) == pytest.approx(kernel_mmd2(b, a), rel=1e-10)


def test_kid_of_two_samples_of_one_source_is_zero_on_average_at_any_size() -> None:
    rng = np.random.default_rng(1)
    for count in (5, 40):
        draws = [kernel_mmd2(*rng.standard_normal((2, count, 4))) for _ in range(300)]
        assert abs(np.mean(draws)) < 4 * np.std(draws) / np.sqrt(len(draws))


def test_subsets_are_seeded_and_agree_with_the_full_sets() -> None:
    a, b = two_sets(400, 300)
    first, again = (
        kernel_inception_distance(a, b, subset_size=80, seed=3),
        kernel_inception_distance(a, b, subset_size=80, seed=3),
    )
    assert first == again
    assert first != kernel_inception_distance(a, b, subset_size=80, seed=4)
    assert abs(first.mean - kernel_mmd2(a, b)) < 4 * first.deviation / np.sqrt(first.subsets)


def test_kid_refuses_sets_that_it_cannot_judge() -> None:
    a, b = two_sets(5, 5)
    with pytest.raises(DataError, match="at least 2"):
        kernel_mmd2(a[:1], b)
    with pytest.raises(DataError, match="expected"):
        kernel_mmd2(a, b[:, :3])


def test_inception_score_matches_torch_fidelity_to_1e_9() -> None:
    logits = torch.from_numpy(np.random.default_rng(0).normal(0, 2, (103, 7)))
    reference = isc_features_to_metric(logits, splits=10, shuffle=False)
    ours = inception_score(logits.softmax(dim=1).numpy(), splits=10, seed=None)
    assert ours.mean == pytest.approx(reference["inception_score_mean"], rel=1e-9)
    assert ours.deviation == pytest.approx(reference["inception_score_std"], rel=1e-9)


def test_inception_score_runs_from_one_to_the_number_of_classes() -> None:
    assert inception_score(np.full((50, 5), 0.2)).mean == pytest.approx(1.0)
    assert inception_score(np.tile([1.0, 0, 0, 0, 0], (50, 1))).mean == pytest.approx(1.0)
    assert inception_score(np.tile(np.eye(5), (10, 1)), seed=None).mean == pytest.approx(5.0)


def test_inception_score_refuses_logits_and_too_few_images() -> None:
    with pytest.raises(DataError, match="sum to 1"):
        inception_score(np.ones((20, 5)))
    with pytest.raises(DataError, match="splits"):
        inception_score(np.full((5, 5), 0.2))
