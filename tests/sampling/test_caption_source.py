"""Whose captions images are sampled for: of this run, of another one, of fewer pictures."""

from dataclasses import dataclass, replace
from itertools import pairwise

import pytest

from tests.conftest import SMALL
from vapray.bank.prompt_bank import BankEntry, PromptBank
from vapray.config.loader import load_config
from vapray.errors import ConfigError, DataError
from vapray.sampling.caption_source import _without, bank_content_hash, select_captions
from vapray.store.run_store import Store
from vapray.store.version import Version

BANK = PromptBank(BankEntry(f"i{label}{number}", label, f"{number}") for label in (0, 1) for number in range(9))


@dataclass(frozen=True)
class Finished:
    root: str
    bank: Version
    class_names: list[str]


@pytest.fixture(scope="module")
def finished(small_run) -> Finished:
    store = Store(str(small_run))
    images, bank = store.finished("images")[0], store.finished("prompt_bank")[0]
    return Finished(str(small_run), bank, images.require_manifest().notes["class_names"])


def texts(finished: Finished, *overrides: str) -> PromptBank:
    config = load_config(None, [*SMALL, *overrides])
    return select_captions(config, finished.bank, finished.class_names, bank_content_hash(config))


def by_class(bank: PromptBank) -> dict[int, tuple[str, ...]]:
    return {label: bank.captions(label) for label in bank.labels}


def test_fewer_captions_are_among_every_larger_number():
    ids = [{entry.image_id for entry in BANK.limit_per_class(count).entries(1)} for count in range(1, 12)]
    assert [len(one) for one in ids] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9]
    assert all(fewer <= more for fewer, more in pairwise(ids))
    assert sorted(ids[3]) != [f"i1{number}" for number in range(4)], "the first by name would be of one hospital"


def test_captions_of_another_run_are_those_of_the_classes_of_the_same_name(finished):
    own = by_class(texts(finished))
    assert by_class(texts(finished, f"sample.caption_run={finished.root}")) == own
    turned = replace(finished, class_names=[name.upper() for name in reversed(finished.class_names)])
    found = by_class(texts(turned, f"sample.caption_run={finished.root}"))
    assert found == {len(own) - 1 - label: captions for label, captions in own.items()}


def test_classes_of_other_names_are_matched_where_it_is_said(finished):
    first, *others = finished.class_names
    renamed = replace(finished, class_names=["a name of its own", *others])
    with pytest.raises(DataError, match=rf"has no captions of a name of its own\. It has: {first}, .*=\{{a name of"):
        texts(renamed, f"sample.caption_run={finished.root}")
    said = f"sample.caption_class_map={{a name of its own: {first}}}"
    assert by_class(texts(renamed, f"sample.caption_run={finished.root}", said)) == by_class(texts(finished))


def test_unseen_texts_and_fewer_captions_go_with_another_bank(finished):
    held_out = by_class(texts(finished, "sample.caption_split=held_out"))
    asked = ("sample.caption_split=held_out", f"sample.caption_run={finished.root}")
    assert by_class(texts(finished, *asked)) == held_out
    fewer = by_class(texts(finished, *asked, "sample.captions_per_class=1"))
    assert all(len(some) == 1 and some[0] in held_out[label] for label, some in fewer.items())


def test_entries_of_another_bank_are_no_pictures_of_this_run(finished):
    own, foreign = texts(finished), texts(finished, f"sample.caption_run={finished.root}")
    ids = [{entry.image_id for label in bank.labels for entry in bank.entries(label)} for bank in (own, foreign)]
    assert len(ids[0]) == len(ids[1]) and ids[0].isdisjoint(ids[1])


def test_unseen_captions_of_another_bank_are_of_no_picture_that_was_trained_on(finished):
    held_out = texts(finished, "sample.caption_split=held_out")
    known = held_out.entries(0)[0]
    kept = _without(held_out, PromptBank([known]), "elsewhere")
    assert len(kept) == len(held_out) - 1
    assert known.image_id not in {entry.image_id for entry in kept.entries(0)}
    with pytest.raises(DataError, match="trained on all images"):
        _without(held_out, held_out, "elsewhere")


def test_two_classes_may_take_the_captions_of_one_and_no_class_is_made_up(finished):
    first, second, *_ = finished.class_names
    asked = f"sample.caption_run={finished.root}", f"sample.caption_class_map={{{second}: {first}}}"
    found = by_class(texts(finished, *asked))
    assert found[1] == found[0]
    with pytest.raises(DataError, match=r"the model has no class nose\. Its classes: "):
        texts(finished, f"sample.caption_run={finished.root}", f"sample.caption_class_map={{nose: {first}}}")
    with pytest.raises(ConfigError, match=r"sample\.caption_class_map"):
        texts(finished, f"sample.caption_class_map={{{second}: {first}}}")


def test_another_bank_counts_by_its_content(finished, tmp_path):
    assert bank_content_hash(load_config(None, [])) == ""
    signed = bank_content_hash(load_config(None, [f"sample.caption_run={finished.root}"]))
    assert signed == finished.bank.require_manifest().content_hash
    with pytest.raises(DataError, match=r"no finished bank\. Fix: give the run\.root of a run with captions"):
        bank_content_hash(load_config(None, [f"sample.caption_run={tmp_path}"]))


def test_the_bank_that_was_signed_is_taken_or_none(finished):
    config = load_config(None, [*SMALL, f"sample.caption_run={finished.root}"])
    with pytest.raises(DataError, match=r"its bank is gone\. Fix: run the command again"):
        select_captions(config, finished.bank, finished.class_names, "of a bank that was finished before")
