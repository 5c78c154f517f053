"""Which rows a step sees follows from (seed, step) alone."""

import numpy as np
import pytest

from vapray.training.batch_sampler import GlobalBatchSampler, caption_permutation

LABELS = np.array([0] * 50 + [1] * 5 + [2] * 2)


def order(**changes) -> GlobalBatchSampler:
    return GlobalBatchSampler(LABELS, **({"batch_size": 16, "seed": 3, "balance": 0.0} | changes))


def test_every_epoch_holds_every_row_once_across_batch_seams():
    rows = np.concatenate([order().rows(step) for step in range(57)])
    for epoch in rows.reshape(-1, len(LABELS)):
        assert sorted(epoch) == list(range(len(LABELS)))


def test_epochs_differ():
    rows = np.concatenate([order().rows(step) for step in range(57)]).reshape(-1, len(LABELS))
    assert not np.array_equal(rows[0], rows[1])


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_a_step_is_the_same_whatever_was_asked_before(balance):
    walked, fresh = order(balance=balance), order(balance=balance)
    for step in range(9):
        walked.rows(step)
    np.testing.assert_array_equal(walked.rows(9), fresh.rows(9))


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_another_seed_is_another_order(balance):
    first, other = order(balance=balance), order(balance=balance, seed=4)
    assert not np.array_equal(first.rows(0), other.rows(0))


@pytest.mark.parametrize("balance", [0.5, 1.0])
def test_balanced_batches_hold_a_class_as_often_as_its_tempered_count(balance):
    seen = np.concatenate([LABELS[order(balance=balance).rows(step)] for step in range(200)])
    expected = np.bincount(LABELS) ** (1 - balance)
    np.testing.assert_allclose(np.bincount(seen) / len(seen), expected / expected.sum(), atol=0.03)


def test_fully_balanced_batches_draw_each_class_by_an_equal_part_of_the_uniform():
    uniform = np.stack([np.linspace(0, 1, 900, endpoint=False), np.full(900, 0.5)], axis=1)
    drawn = order(balance=1.0)._classes.draw(uniform)
    np.testing.assert_array_equal(LABELS[drawn], (uniform[:, 0] * 3).astype(int))


@pytest.mark.parametrize("share", [0, 0.1, 0.3, 1])
def test_a_share_of_each_class_exchanges_captions_and_none_of_them_keeps_its_own(share):
    owners = caption_permutation(LABELS, shuffled=share, seed=3)
    assert sorted(owners) == list(range(len(LABELS)))
    assert (LABELS[owners] == LABELS).all()
    moved = owners != np.arange(len(LABELS))
    counts = [round(share * int((label == LABELS).sum())) for label in range(3)]
    assert [int(moved[label == LABELS].sum()) for label in range(3)] == [n if n > 1 else 0 for n in counts]


def test_who_exchanges_captions_follows_from_the_seed():
    first, again, other = (caption_permutation(LABELS, shuffled=0.5, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
