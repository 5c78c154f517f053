"""Whose captions images are sampled for: of this run, of another one, of fewer pictures."""

from dataclasses import dataclass, replace
from itertools import pairwise

import pytest

from tests.conftest import SMALL
from vapray.bank.prompt_bank import BankEntry, PromptBank
from vapray.config.file import load
from vapray.errors import DataError
from vapray.sampling.texts import bank_signature, texts_for_samples
from vapray.store import Store, Version

BANK = PromptBank(BankEntry(f"i{label}{number}", label, f"{number}") for label in (0, 1) for number in range(9))


@dataclass(frozen=True)
class Finished:
    root: str
    bank: Version
    class_names: list[str]


@pytest.fixture(scope="module")
def finished(small_run) -> Finished:
    store = Store(str(small_run))
    return Finished(
        str(small_run), store.finished("bank")[0], store.finished("images")[0].sealed().notes["class_names"]
    )


def texts(finished: Finished, *overrides: str) -> PromptBank:
    return texts_for_samples(load(None, [*SMALL, *overrides]), finished.bank, finished.class_names)


def by_class(bank: PromptBank) -> dict[int, tuple[str, ...]]:
    return {label: bank.captions(label) for label in bank.labels}


def test_fewer_captions_are_among_every_larger_number():
    ids = [{entry.image_id for entry in BANK.reduced(count).entries(1)} for count in range(1, 12)]
    assert [len(one) for one in ids] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9]
    assert all(fewer <= more for fewer, more in pairwise(ids))
    assert sorted(ids[3]) != [f"i1{number}" for number in range(4)], "the first by name would be of one hospital"


def test_captions_of_another_run_are_those_of_the_classes_of_the_same_name(finished):
    own = by_class(texts(finished))
    assert by_class(texts(finished, f"sample.bank={finished.root}")) == own
    turned = replace(finished, class_names=[name.upper() for name in reversed(finished.class_names)])
    found = by_class(texts(turned, f"sample.bank={finished.root}"))
    assert found == {len(own) - 1 - label: captions for label, captions in own.items()}


def test_classes_of_other_names_are_matched_where_it_is_said(finished):
    first, *others = finished.class_names
    renamed = replace(finished, class_names=["a name of its own", *others])
    with pytest.raises(DataError, match=rf"has no captions of a name of its own\. It has: {first}, .*=\{{a name of"):
        texts(renamed, f"sample.bank={finished.root}")
    said = f"sample.bank_classes={{a name of its own: {first}}}"
    assert by_class(texts(renamed, f"sample.bank={finished.root}", said)) == by_class(texts(finished))


def test_unseen_texts_and_fewer_captions_go_with_another_bank(finished):
    held_out = texts(finished, "sample.texts=held_out")
    asked = ("sample.texts=held_out", f"sample.bank={finished.root}", "sample.captions_per_class=1")
    found = by_class(texts(finished, *asked))
    assert found == {label: held_out.reduced(1).captions(label) for label in held_out.labels}


def test_another_bank_counts_by_its_content(finished, tmp_path):
    assert bank_signature(load(None, [])) == ""
    signed = bank_signature(load(None, [f"sample.bank={finished.root}"]))
    assert signed == finished.bank.sealed().content_hash
    with pytest.raises(DataError, match=r"no finished bank there\. Give the run\.root of a run with captions"):
        bank_signature(load(None, [f"sample.bank={tmp_path}"]))
