"""What is sampled, and how a picture says that it is synthetic."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vapray.bank.prompt_bank import BankEntry, PromptBank
from vapray.errors import DataError
from vapray.sampling.plan import label_counts, plan_samples
from vapray.sampling.provenance import encode_png, read_provenance

BANK = PromptBank(
    BankEntry(f"i{label}{number}", label, f"caption {number}") for label in (0, 1) for number in range(3 * label + 1)
)


def plan(arm="generated", texts=BANK, **changes):
    return plan_samples(BANK, texts, **({"n_images": 50, "seed": 0, "uniform_labels": False, "arm": arm} | changes))


@given(st.dictionaries(st.integers(0, 9), st.integers(1, 10_000), min_size=1), st.integers(1, 500))
def test_label_counts_add_up_and_stay_within_one_of_the_prior(prior, n):
    counts = label_counts(prior, n)
    assert sum(counts.values()) == n
    total = sum(prior.values())
    assert all(abs(counts[label] - n * prior[label] / total) < 1 for label in prior)


def test_labels_follow_the_training_prior_or_are_uniform():
    assert Counter(row["label"] for row in plan()) == {0: 10, 1: 40}
    assert Counter(row["label"] for row in plan(uniform_labels=True)) == {0: 25, 1: 25}


def test_arms_are_paired():
    columns = ("label", "caption", "source_image_id", "seed")
    first, second = plan(), plan("untrained")
    assert [[row[c] for c in columns] for row in first] == [[row[c] for c in columns] for row in second]
    assert {row["sample_id"] for row in first}.isdisjoint(row["sample_id"] for row in second)


def test_captions_come_from_the_rows_own_class():
    classes = {entry.image_id: entry.label for label in BANK.labels for entry in BANK.entries(label)}
    assert all(classes[row["source_image_id"]] == row["label"] for row in plan())


def test_unseen_texts_keep_the_prior_of_training():
    texts = PromptBank(BankEntry(f"t{label}{number}", label, "unseen") for label in (0, 1) for number in range(9))
    rows = plan(texts=texts)
    assert Counter(row["label"] for row in rows) == {0: 10, 1: 40}
    assert {row["caption"] for row in rows} == {"unseen"}
    assert [row["seed"] for row in rows] == [row["seed"] for row in plan()]


def test_a_class_without_texts_is_told():
    with pytest.raises(DataError, match="no captions for class 1;"):
        plan(texts=PromptBank([BankEntry("t", 0, "unseen")]))


def test_seeds_differ_between_images_and_runs():
    seeds = [row["seed"] for row in plan(n_images=500)]
    assert len(set(seeds)) == 500
    assert seeds != [row["seed"] for row in plan(n_images=500, seed=1)]


@pytest.mark.parametrize("caption", ["a lesion", "läsion, 35 %", "<script>alert(1)</script>"])
def test_a_png_carries_its_provenance(caption):
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    chunks = read_provenance(encode_png(image, {"Caption": caption, "Seed": "7"}))
    assert "Not for clinical use" in chunks["Synthetic"]
    assert (chunks["Caption"], chunks["Seed"]) == (caption, "7")
