"""Laws of PRD: the curve is that of its definition, and each number answers to its own fault."""

import numpy as np
import pytest

from vapray.errors import DataError
from vapray.metrics.prd import PRDScores, prd_scores, precision_recall_curve


def modes(shares: list[float], count: int = 300, seed: int = 0) -> np.ndarray:
    """Rows around the corners of a simplex, so many at each."""
    rng = np.random.default_rng(seed)
    counts = [round(share * count) for share in shares]
    return np.repeat(30 * np.eye(len(shares)), counts, axis=0) + rng.standard_normal((sum(counts), len(shares)))


def scores(real: np.ndarray, generated: np.ndarray) -> PRDScores:
    return prd_scores(real, generated, clusters=4, runs=5)


def test_the_curve_is_that_of_its_definition() -> None:
    real, generated = np.array([0.5, 0.3, 0.2, 0.0]), np.array([0.1, 0.3, 0.0, 0.6])
    precision, recall = precision_recall_curve(real, generated, angles=7)
    for at, angle in enumerate(np.linspace(1e-6, np.pi / 2 - 1e-6, 7)):
        slope = np.tan(angle)
        assert precision[at] == pytest.approx(sum(min(slope * p, q) for p, q in zip(real, generated, strict=True)))
        assert recall[at] == pytest.approx(sum(min(p, q / slope) for p, q in zip(real, generated, strict=True)))
    # The ends: the mass of generated kinds that are real, and of real kinds that are generated.
    assert precision[-1] == pytest.approx(0.4)
    assert recall[0] == pytest.approx(0.8)


def test_a_set_with_itself_scores_one_and_strangers_nothing() -> None:
    real = modes([0.25] * 4)
    same, apart = scores(real, real.copy()), scores(real, real + 200)
    assert (same.f8, same.f1_8) == pytest.approx((1.0, 1.0), abs=1e-9)
    assert max(apart.f8, apart.f1_8) < 1e-3


def test_what_is_left_out_lowers_f8_and_what_is_invented_lowers_f1_8() -> None:
    half, whole = modes([0.5, 0.5, 0.0, 0.0]), modes([0.25] * 4, seed=1)
    collapsed, inventive = scores(whole, half), scores(half, whole)
    assert collapsed.f8 < 0.6 < 0.9 < collapsed.f1_8
    assert inventive.f1_8 < 0.6 < 0.9 < inventive.f8


def test_how_often_counts_where_neighbourhoods_see_only_whether() -> None:
    real = modes([0.25] * 4)
    skewed = scores(real, modes([0.91, 0.03, 0.03, 0.03], seed=1))
    assert skewed.f8 < 0.9 < scores(real, modes([0.25] * 4, seed=1)).f8


def test_it_is_seeded_and_refuses_too_few() -> None:
    real, generated = modes([0.25] * 4), modes([0.4, 0.2, 0.2, 0.2], count=200, seed=1)
    assert scores(real, generated) == scores(real, generated)
    with pytest.raises(DataError, match="20 clusters"):
        prd_scores(real, generated[:19])
    with pytest.raises(DataError, match="expected"):
        prd_scores(real, generated[:, :2])
