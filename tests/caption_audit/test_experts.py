"""What experts saved on a rating sheet is read back, and refused where it is of something else."""

import json
from pathlib import Path

import pytest

from vapray.caption_audit.experts import summarize_ratings
from vapray.caption_audit.ratings import RatedCaption, read_ratings
from vapray.errors import DataError

KEYS = {"a": "key a", "b": "key b", "c": "key c"}


def rated(**shapes: str) -> list[RatedCaption]:
    return [RatedCaption(image_id=image, caption_key=KEYS[image], verdicts={"shape": v}) for image, v in shapes.items()]


def write(path: Path, **changed: object) -> str:
    one = {"image_id": "a", "caption_key": "key a", "verdicts": {"shape": "wrong"}}
    path.write_text(json.dumps({"vapray_ratings": 1, "rater": "AB", "ratings": [one]} | changed))
    return str(path)


def test_a_saved_sheet_is_read(tmp_path: Path) -> None:
    rater, ratings = read_ratings(write(tmp_path / "ratings.json"))
    assert (rater, ratings[0].verdicts) == ("AB", {"shape": "wrong"})


@pytest.mark.parametrize(
    "changed",
    [
        {"vapray_ratings": 2},
        {"rater": ""},
        {"ratings": {}},
        {"more": 1},
        {"ratings": [{"image_id": "a", "caption_key": "k", "verdicts": {"shape": "perhaps"}}]},
    ],
)
def test_what_no_sheet_saves_is_refused_with_its_place(tmp_path: Path, changed: dict[str, object]) -> None:
    with pytest.raises(DataError, match=rf"odd\.json: .*{next(iter(changed))}.*rating sheet saved"):
        read_ratings(write(tmp_path / "odd.json", **changed))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: cannot be read"):
        read_ratings(str(tmp_path / "none.json"))


def test_an_address_that_nothing_reads_is_refused() -> None:
    with pytest.raises(DataError, match=r"nowhere://ratings\.json: cannot be read .*nowhere"):
        read_ratings("nowhere://ratings.json")


def test_experts_are_counted_and_compared() -> None:
    files = [("A", rated(a="wrong", b="right", c="unsure")), ("B", rated(a="wrong", b="right", c="right"))]
    audit = {("a", "shape"): True, ("b", "shape"): False, ("c", "shape"): False}
    found = summarize_ratings(files, KEYS, {image: image for image in KEYS}, audit)
    assert found.raters == {"A": 3, "B": 3}
    assert found.overall is not None
    assert (found.overall.value, found.overall.count, found.unsure) == (2 / 5, 5, 1)
    assert found.wrong["shape"] == found.overall
    assert found.agreement == 1.0
    assert found.between == {"A and B": 1.0}
    opposite = {statement: not verdict for statement, verdict in audit.items()}
    contrary = summarize_ratings(files, KEYS, {image: image for image in KEYS}, opposite)
    assert contrary.agreement is not None
    assert contrary.agreement < 0


def test_ratings_of_other_captions_are_left_out_or_refused() -> None:
    changed = KEYS | {"a": "another caption"}
    groups = {image: image for image in KEYS}
    found = summarize_ratings([("A", rated(a="wrong", b="right"))], changed, groups, {})
    assert (found.outdated, found.raters, found.agreement) == (1, {"A": 1}, None)
    with pytest.raises(DataError, match="all 1 ratings are of captions that this run does not have"):
        summarize_ratings([("A", rated(a="wrong"))], changed, groups, {})
