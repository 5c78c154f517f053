"""A caption's statements are held against their picture one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vapray.caption_audit.claims import AuditedImage, by_chance, claims_of, self_agreement
from vapray.caption_audit.proportions import proportion
from vapray.captioning.caption_parser import parse_caption
from vapray.captioning.prompt_set import load_prompt_set

DERMOSCOPY = load_prompt_set("dermoscopy")
KNOWN = {"shape": "round", "outline": "smooth", "size": 0.3, "colours": ("black", "red"), "texture": "uniform"}


def contradicted(caption: str) -> dict[str, list[bool]]:
    found: dict[str, list[bool]] = {}
    for claim in claims_of(parse_caption(caption, DERMOSCOPY), KNOWN, DERMOSCOPY):
        found.setdefault(claim.attribute, []).append(claim.contradicted)
    return found


@pytest.mark.parametrize(
    ("caption", "wanted"),
    [
        ("A round lesion.", {"shape": [False]}),
        ("An oval lesion.", {"shape": [True]}),
        ("A lesion with a smooth border that is not round but oval.", {"shape": [True], "outline": [False]}),
        ("A black, red and white lesion.", {"colours": [False, False, True]}),
        ("A lesion of about 22% of the image.", {"size": [False]}),
        ("A lesion of about 41% of the image.", {"size": [True]}),
        ("A large lesion.", {"size": [False]}),
        ("A small lesion.", {"size": [True]}),
        ("A lesion on pale skin.", {}),  # nothing is known of this picture's skin
        ("Something was seen.", {}),
    ],
)
def test_each_statement_is_right_or_contradicted(caption: str, wanted: dict[str, list[bool]]) -> None:
    assert contradicted(caption) == wanted


def test_a_size_word_is_right_in_all_of_its_range() -> None:
    said = parse_caption("A large lesion.", DERMOSCOPY)
    for share in np.linspace(0.01, 0.99, 50):
        (claim,) = claims_of(said, {"size": float(share)}, DERMOSCOPY)
        assert not claim.contradicted or share < 0.28


def test_truth_is_contradicted_by_other_pictures_as_often_as_these_differ() -> None:
    shapes = ["round", "oval"] * 50
    pictures = [AuditedImage(str(n), str(n), {"shape": one}, {"shape": one}) for n, one in enumerate(shapes)]
    chance = by_chance(pictures, DERMOSCOPY, rounds=len(shapes) - 1, seed=0)
    assert chance == {"shape": pytest.approx(50 / 99)}
    alike = [AuditedImage(str(n), str(n), {"shape": "round"}, {"shape": "round"}) for n in range(9)]
    assert by_chance(alike, DERMOSCOPY, rounds=4, seed=0) == {"shape": 0.0}
    assert by_chance(pictures[:1], DERMOSCOPY, rounds=4, seed=0) == {}


def test_captions_agree_over_what_both_mention() -> None:
    round_red, oval = ({"shape": "round", "colours": ("red",)}, {"shape": "oval"})
    assert self_agreement([round_red, round_red, oval], DERMOSCOPY) == {"shape": pytest.approx(1 / 3), "colours": 1.0}
    assert self_agreement([round_red], DERMOSCOPY) == {}


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_intervals_hold_their_share_and_widen_when_a_group_only_repeats_itself(outcomes: list[bool]) -> None:
    alone = proportion(outcomes, range(len(outcomes)))
    repeated = proportion(
        [one for one in outcomes for _ in range(4)], [n for n in range(len(outcomes)) for _ in range(4)]
    )
    assert alone is not None
    assert repeated is not None
    assert 0 <= alone.interval.low <= alone.value <= alone.interval.high <= 1
    assert repeated.value == pytest.approx(alone.value)
    assert repeated.interval.high - repeated.interval.low >= 0.98 * (alone.interval.high - alone.interval.low)


def test_independent_outcomes_get_wilsons_interval() -> None:
    found = proportion([True] * 10 + [False] * 90, range(100))
    assert found is not None
    assert (found.interval.low, found.interval.high) == (
        pytest.approx(0.0552, abs=2e-3),
        pytest.approx(0.1744, abs=2e-3),
    )
    assert proportion([], []) is None
