"""Laws of the rank of a caption's source."""

import numpy as np
import pytest

from vapray.evaluation.source_rank import OTHERS, SourceRank, source_rank

CLASSES, OF_A_CLASS, WIDTH = 4, 150, 12


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def rank(made: np.ndarray, sources: np.ndarray, real: np.ndarray, groups: np.ndarray) -> SourceRank:
    found = source_rank(made, dict(enumerate(sources.tolist())), real, groups, draws=50, seed=0)
    assert found is not None
    return found


def drawn(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Real features about the centres of their classes, their classes, and sources at random."""
    groups = np.repeat(np.arange(CLASSES), OF_A_CLASS)
    real = 5.0 * groups[:, None] + rng.standard_normal((len(groups), WIDTH))
    return real, groups, rng.integers(0, len(groups), 1000)


def test_pictures_of_the_right_class_without_regard_to_the_caption_rank_at_chance(rng):
    real, groups, sources = drawn(rng)
    made = 5.0 * groups[sources][:, None] + 0.7 * rng.standard_normal((len(sources), WIDTH))
    found = rank(made, sources, real, groups)
    assert found.interval.low < 0.5 < found.interval.high
    assert found.interval.high - found.interval.low < 0.05
    assert found.images == len(sources)


@pytest.mark.parametrize(("noise", "least", "most"), [(0.0, 1.0, 1.0), (0.5, 0.95, 1.0), (3.0, 0.55, 0.9)])
def test_the_nearer_to_the_source_the_higher(rng, noise, least, most):
    real, groups, sources = drawn(rng)
    made = real[sources] + noise * rng.standard_normal((len(sources), WIDTH))
    assert least <= rank(made, sources, real, groups).mean <= most


def test_equal_pictures_are_at_chance(rng):
    real, groups = np.ones((30, WIDTH)), np.zeros(30, np.int64)
    assert rank(real[:10], np.arange(10), real, groups).mean == 0.5


def test_a_source_that_is_alone_or_unknown_is_left_out(rng):
    real, groups = rng.standard_normal((6, WIDTH)), np.array([0, 1, 1, 1, 1, 1])
    assert rank(real, np.arange(6), real, groups).images == 5
    assert source_rank(real, {0: 0}, real, groups, draws=10, seed=0) is None
    assert source_rank(real, {}, real, groups, draws=10, seed=0) is None


@pytest.mark.parametrize("captions_of_a_class", [2, 4, 16])
def test_few_captions_for_many_pictures_leave_chance_where_it_is(rng, captions_of_a_class):
    real, groups, _ = drawn(rng)
    few = np.concatenate([np.flatnonzero(groups == group)[:captions_of_a_class] for group in range(CLASSES)])
    held, means = 0, []
    for _ in range(20):
        sources = rng.choice(few, 600)
        made = 5.0 * groups[sources][:, None] + 0.7 * rng.standard_normal((len(sources), WIDTH))
        found = rank(made, sources, real, groups)
        held += found.interval.low <= 0.5 <= found.interval.high
        means.append(found.mean)
    assert held >= 16
    assert np.mean(means) == pytest.approx(0.5, abs=0.03)


def test_one_caption_a_class_leaves_nothing_to_rank(rng):
    real, groups, _ = drawn(rng)
    sources = dict(enumerate([0, 0, OF_A_CLASS, OF_A_CLASS]))
    assert source_rank(real[:4], sources, real, groups, draws=10, seed=0) is None


def test_large_classes_are_sampled_and_give_the_same_answer_as_small_ones(rng):
    real, groups, sources = drawn(rng)
    made = real[sources] + rng.standard_normal((len(sources), WIDTH))
    assert min(len(np.unique(sources[groups[sources] == group])) for group in range(CLASSES)) > OTHERS
    few = np.concatenate([np.flatnonzero(groups == group)[: OTHERS // 2] for group in range(CLASSES)])
    chosen = np.isin(sources, few)
    apart = rank(made[chosen], sources[chosen], real, groups).mean
    assert rank(made, sources, real, groups).mean == pytest.approx(apart, abs=0.03)
