"""One sweep over the pairs says what each measure says by itself."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from vapray.errors import DataError
from vapray.metrics.intervals import random_halves
from vapray.metrics.kid import kernel_mmd2
from vapray.metrics.kid_and_prdc import kid_and_prdc
from vapray.metrics.prdc import prdc_scores


def two_sets(n: int, m: int, offset: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, 6)) + offset, 0.8 * rng.standard_normal((m, 6)) + offset + 0.4


@pytest.mark.parametrize(("n", "m"), [(90, 90), (130, 41), (41, 130)])
@pytest.mark.parametrize("offset", [0.0, 5.0])
def test_it_is_kid_its_halves_and_the_neighbours(n: int, m: int, offset: float) -> None:
    real, generated = two_sets(n, m, offset)
    halves = random_halves([n, m], 4, seed=1)
    found = kid_and_prdc(real, generated, halves, seed=2, block_rows=17)
    assert found.kid == pytest.approx(kernel_mmd2(real, generated), rel=1e-6)
    apart = [kernel_mmd2(real[some], generated[others]) for some, others in halves]
    np.testing.assert_allclose(found.kid_of_halves, apart, rtol=1e-6, atol=1e-6)
    assert found.prdc == prdc_scores(real, generated, seed=2)


@pytest.mark.parametrize("k", [1, 3, 7])
def test_neighbours_are_those_of_brute_force(k: int) -> None:
    real, generated = two_sets(64, 64, 1.0)
    real_radii, made_radii = (np.sort(cdist(rows, rows), axis=1)[:, k, None] for rows in (real, generated))
    between = cdist(real, generated)
    near = kid_and_prdc(real, generated, k=k, block_rows=10).prdc
    assert near.precision == (between <= real_radii).any(axis=0).mean()
    assert near.recall == (between <= made_radii.T).any(axis=1).mean()
    assert near.coverage == (between <= real_radii).any(axis=1).mean()
    assert near.density == pytest.approx((between <= real_radii).sum() / (k * 64))


def close(rng: np.random.Generator) -> np.ndarray:
    """Rows far apart in groups of which float32 sees a single point."""
    return np.repeat(rng.standard_normal((6, 40)), 16, axis=0) + 1e-7 * rng.standard_normal((96, 40))


def closer(rng: np.random.Generator) -> np.ndarray:
    """The same, and float64's products see single points too."""
    return np.repeat(rng.standard_normal((6, 40)), 16, axis=0) + 1e-9 * rng.standard_normal((96, 40))


def lattice(rng: np.random.Generator) -> np.ndarray:
    """Rows whose distances are equal but for the last digits of float32 and beyond."""
    return np.sqrt(2) * np.eye(96) * (1 + 1e-9 * rng.standard_normal((96, 1)))


def uneven(rng: np.random.Generator) -> np.ndarray:
    """Near neighbours among rows that are a thousand times as long, whose rounding hides them."""
    return np.concatenate([rng.standard_normal((80, 40)), 1000 * rng.standard_normal((16, 40))])


def squares(rows: np.ndarray, kind: type) -> np.ndarray:
    centred = (rows - rows.mean(axis=0)).astype(kind)
    norms = (centred**2).sum(axis=1)
    return norms[:, None] + norms - 2 * (centred @ centred.T)


def order(distances: np.ndarray) -> np.ndarray:
    return np.argsort(distances, axis=1)[:, :4]


@pytest.mark.parametrize("draw", [close, closer, lattice, uneven])
@pytest.mark.parametrize("block_rows", [25, 1000])
def test_neighbours_are_exact_where_float32_cannot_tell_them(draw, block_rows: int) -> None:
    rng = np.random.default_rng(0)
    real, generated = draw(rng), draw(rng)[::-1].copy()
    generated[:8] = real[:8] + 1e-8
    assert (order(squares(real, np.float32)) != order(squares(real, np.float64))).any(), "float32 would do"
    real_radii, made_radii = (np.sort(cdist(rows, rows), axis=1)[:, 3, None] for rows in (real, generated))
    between = cdist(real, generated)
    near = kid_and_prdc(real, generated, block_rows=block_rows).prdc
    assert near.precision == (between <= real_radii).any(axis=0).mean()
    assert near.recall == (between <= made_radii.T).any(axis=1).mean()
    assert near.density == pytest.approx((between <= real_radii).sum() / (3 * 96))


def test_more_equal_rows_than_are_remembered_have_balls_of_no_size() -> None:
    real, generated = two_sets(64, 64, 0.0)
    real[:30] = real[0]
    radii = np.sort(cdist(real, real), axis=1)[:, 3, None]
    inside = cdist(real, generated) <= radii
    near = kid_and_prdc(real, generated, block_rows=11).prdc
    assert (radii[:30] == 0).all() and inside[30:].any()
    assert (near.precision, near.coverage) == (inside.any(axis=0).mean(), inside.any(axis=1).mean())


def test_copies_of_the_reference_lie_in_every_ball_and_at_no_distance() -> None:
    real, _ = two_sets(80, 80, 300.0)
    found = kid_and_prdc(real, real[::-1].copy())
    assert (found.prdc.precision, found.prdc.recall, found.prdc.coverage) == (1.0, 1.0, 1.0)
    # Unlike pairs within the sets and all pairs between them: the copies' own kernel values are the difference.
    assert found.kid < 0


def test_sets_that_cannot_be_compared_are_refused() -> None:
    real, generated = two_sets(20, 20, 0.0)
    with pytest.raises(DataError, match="more than 3"):
        kid_and_prdc(real, generated[:3])
    with pytest.raises(DataError, match="expected"):
        kid_and_prdc(real, generated[:, :2])
