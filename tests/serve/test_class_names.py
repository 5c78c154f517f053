"""Classes that texts name."""

import pytest

from serve.class_names import class_named_by, class_named_in

NAMES = ("MEL", "NV", "blue nevus", "nevus", "actinic_keratosis", "AS", "1", "nv")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("MEL", 0),
        ("mel", 0),
        (" MEL\n", 0),
        ("NV", 1),
        ("nv", 7),
        ("Nv", None),
        ("1", 6),
        ("melanoma", None),
        ("", None),
    ],
)
def test_a_whole_text_is_a_name_exactly_or_in_another_case_of_only_one(text: str, label: int | None) -> None:
    assert class_named_by(text, NAMES) == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("a red MEL, on pale skin", 0),
        ("(MEL)", 0),
        ("is it mel?", 0),
        ("MEL-like", 0),
        ("a blue nevus", 2),
        ("a Blue\nNevus.", 2),
        ("Blue nevus on the arm", 2),
        ("blue-nevus", 2),
        ("a brown nevus; blue", 3),
        ("actinic keratosis on the scalp", 4),
        ("Actinic-Keratosis", 4),
        ("as large as a coin", None),
        ("AS", 5),
        ("1 lesion", None),
        ("MEL or AS", None),
        ("a nevus beside a blue nevus", None),
        ("caramel", None),
        ("", None),
    ],
)
def test_prose_names_a_class_where_only_one_is_named(text: str, label: int | None) -> None:
    assert class_named_in(text, NAMES) == label
