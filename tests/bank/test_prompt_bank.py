"""Laws of the prompt bank."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from vapray.bank.prompt_bank import BankEntry, PromptBank
from vapray.errors import DataError


def make_rows(count: int = 30, classes: int = 3) -> list[dict[str, object]]:
    return [
        {
            "image_id": f"image{i:03d}",
            "label": i % classes,
            "split": "train",
            "group": f"lesion{i // 2}",
            "caption": f"a lesion of {i} %",
        }
        for i in range(count)
    ]


def test_every_caption_lies_in_the_class_of_its_image() -> None:
    bank = PromptBank.from_rows(make_rows())
    assert bank.labels == (0, 1, 2)
    assert len(bank) == sum(len(bank.captions(label)) for label in bank.labels) == 30
    assert bank.captions(1)[:2] == ("a lesion of 1 %", "a lesion of 4 %")


def test_draws_are_a_pure_function_of_label_and_seed() -> None:
    rows = make_rows()
    bank, shuffled = PromptBank.from_rows(rows), PromptBank.from_rows(rows[::-1])
    assert bank.draw(1, seed=7, n=20) == shuffled.draw(1, seed=7, n=20)
    assert bank.draw(1, seed=7, n=20)[:5] == bank.draw(1, seed=7, n=5)
    assert bank.draw(1, seed=7, n=20) != bank.draw(1, seed=8, n=20)
    assert {entry.label for entry in bank.draw(2, seed=-3, n=20)} == {2}


def test_draws_are_uniform_over_the_class() -> None:
    bank = PromptBank.from_rows(make_rows())
    counts = Counter(entry.image_id for seed in range(2000) for entry in bank.draw(0, seed))
    expected = 2000 / 10
    chi_squared = sum((count - expected) ** 2 / expected for count in counts.values())
    assert len(counts) == 10
    assert chi_squared < 27.9  # the 99.9 % point at 9 degrees of freedom


@pytest.mark.parametrize("split", ["validation", "test", ""])
def test_captions_of_held_out_images_never_enter(split: str) -> None:
    rows = make_rows()
    rows[4]["split"] = split
    with pytest.raises(DataError, match=r"image004"):
        PromptBank.from_rows(rows)


def test_unknown_classes_are_refused_with_the_known_ones() -> None:
    bank = PromptBank.from_rows(make_rows())
    for ask in (lambda: bank.draw(9, seed=0), lambda: bank.captions(9)):
        with pytest.raises(DataError, match=r"class 9; known classes: \[0, 1, 2\]"):
            ask()
    with pytest.raises(DataError, match="0 captions"):
        bank.draw(0, seed=0, n=0)


def test_empty_banks_empty_captions_and_repeated_images_are_refused() -> None:
    rows = make_rows()
    with pytest.raises(DataError, match="no captions"):
        PromptBank.from_rows([])
    with pytest.raises(DataError, match=r"image000.*twice"):
        PromptBank.from_rows([*rows, rows[0]])
    for blank in ("", "  ", None):
        with pytest.raises(DataError, match=r"image001.*empty"):
            PromptBank.from_rows([rows[0], {**rows[1], "caption": blank}])


def test_a_table_gives_the_same_bank_back() -> None:
    bank = PromptBank.from_rows(make_rows())
    table = bank.to_table()
    assert table.schema.equals(
        pa.schema(
            [
                ("image_id", pa.string()),
                ("label", pa.int32()),
                ("group", pa.string()),
                ("caption", pa.string()),
            ]
        )
    )
    again = PromptBank.from_table(table.append_column("extra", pa.array(range(30))))
    assert [again.entries(label) for label in again.labels] == [bank.entries(label) for label in bank.labels]
    with pytest.raises(DataError, match=r"\['group'\]"):
        PromptBank.from_table(table.drop_columns("group"))


def test_contexts_travel_with_their_captions() -> None:
    context = np.ones((3, 8), np.float16)
    row = {**make_rows()[0], "context": context}
    (entry,) = PromptBank.from_rows([row]).draw(0, seed=0)
    assert entry.context is context
    assert entry == BankEntry("image000", 0, "a lesion of 0 %", "lesion0")
