"""Distances of a caption to the others of its class."""

import numpy as np
import pytest

from vapray.bank.bank_distance import BankDistances
from vapray.bank.hashing_encoder import HashingEncoder
from vapray.bank.prompt_bank import BankEntry, PromptBank
from vapray.errors import DataError

CAPTIONS = ["a round red lesion", "a round black lesion", "white streaks", "a round red lesion", "an oval red lesion"]


@pytest.fixture
def distances() -> BankDistances:
    entries = [BankEntry(f"image {n}", 0, caption) for n, caption in enumerate(CAPTIONS)]
    return BankDistances(PromptBank([*entries, BankEntry("other", 1, "a round red lesion")]), HashingEncoder())


def test_the_nearest_others_leave_out_the_text_itself_and_are_in_order(distances: BankDistances) -> None:
    found = distances.nearest_others(0, CAPTIONS[0], 10)
    assert {entry.caption for entry, _ in found} == set(CAPTIONS[1:]) - {CAPTIONS[0]}
    apart = [distance for _, distance in found]
    assert apart == sorted(apart) and apart[0] > 0
    assert found[-1][0].caption == "white streaks"
    assert distances.nearest_others(0, CAPTIONS[0], 2) == found[:2]


def test_the_spread_is_the_distance_of_each_text_to_its_nearest_other(distances: BankDistances) -> None:
    wanted = [distances.nearest_others(0, text, 1)[0][1] for text in dict.fromkeys(CAPTIONS)]
    assert np.sort(distances.spread(0)) == pytest.approx(np.sort(wanted), abs=1e-6)


def test_a_class_without_captions_is_refused(distances: BankDistances) -> None:
    with pytest.raises(DataError, match="no captions for class 7"):
        distances.nearest_others(7, "red", 1)
