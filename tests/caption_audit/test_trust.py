"""The rule of trust: an attribute is kept only if its statements are resolved to be better than chance."""

import numpy as np
import pytest

from vapray.caption_audit.claims import AuditedImage
from vapray.caption_audit.trust import judge_attributes
from vapray.captioning.attributes import Attributes
from vapray.captioning.prompt_set import load_prompt_set
from vapray.errors import DataError

DERMOSCOPY = load_prompt_set("dermoscopy")
SHAPES = DERMOSCOPY.attributes["shape"].values
TEXTURES = DERMOSCOPY.attributes["texture"].values


def audited(count: int, right: float, *, rng: np.random.Generator, groups: int | None = None) -> list[AuditedImage]:
    """Images with a right texture in each caption, and a right shape with probability ``right``, else one at random."""
    pictures = []
    for number in range(count):
        known: Attributes = {"shape": str(rng.choice(SHAPES)), "texture": str(rng.choice(TEXTURES))}
        said = dict(known) if rng.random() < right else known | {"shape": str(rng.choice(SHAPES))}
        group = number if groups is None else number % groups
        pictures.append(AuditedImage(str(number), str(group), said, known))
    return pictures


def reasons(pictures: list[AuditedImage]) -> dict[str, str]:
    return {one.name: one.reason for one in judge_attributes(pictures, DERMOSCOPY, seed=0)}


def test_what_is_right_is_kept_and_what_is_at_random_or_unchecked_is_left_out() -> None:
    found = reasons(audited(300, 0.0, rng=np.random.default_rng(0)))
    assert found["texture"] == "better than chance"
    assert found["shape"] == "not resolved from chance"
    assert {found[name] for name in DERMOSCOPY.attributes if name not in ("shape", "texture")} == {
        "no checked statements"
    }


def test_what_is_always_wrong_is_worse_than_chance() -> None:
    pictures = audited(300, 1.0, rng=np.random.default_rng(1))
    turned = dict(zip(SHAPES, [*SHAPES[1:], SHAPES[0]], strict=True))
    wrong = [
        AuditedImage(one.image_id, one.group, one.said | {"shape": turned[str(one.known["shape"])]}, one.known)
        for one in pictures
    ]
    assert reasons(wrong)["shape"] == "worse than chance"
    assert reasons(pictures)["shape"] == "better than chance"


def test_too_few_statements_or_groups_are_left_out_although_all_are_right() -> None:
    rng = np.random.default_rng(2)
    assert reasons(audited(9, 1.0, rng=rng))["shape"] == "not resolved from chance"
    assert reasons(audited(300, 1.0, rng=rng))["shape"] == "better than chance"
    assert reasons(audited(300, 1.0, rng=rng, groups=2))["shape"] == "not resolved from chance"


def test_half_right_is_better_than_chance_and_the_excess_is_the_upper_end() -> None:
    found = {
        one.name: one for one in judge_attributes(audited(400, 0.5, rng=np.random.default_rng(3)), DERMOSCOPY, seed=0)
    }
    shape = found["shape"]
    assert shape.trusted
    assert shape.excess == pytest.approx(shape.contradicted.interval.high - shape.by_chance)
    assert "better than chance" in str(shape)
    assert "of 400 contradicted" in str(shape)


@pytest.mark.parametrize("weights", [(1, 1, 1), (8, 1, 1)], ids=["equal values", "a common value"])
def test_captions_that_ignore_their_images_are_rarely_trusted(weights: tuple[int, ...]) -> None:
    """The interval is two-sided at 95 %, so at most 2.5 % of such attributes are trusted."""
    shares, trusted, trials = np.array(weights) / sum(weights), 0, 200
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        drawn = rng.choice(SHAPES, (60, 2), p=shares)
        pictures = [
            AuditedImage(str(n), str(n), {"shape": str(said)}, {"shape": str(known)})
            for n, (said, known) in enumerate(drawn)
        ]
        trusted += reasons(pictures)["shape"] == "better than chance"
    assert trusted <= 0.025 * trials + 3 * np.sqrt(0.025 * trials)


def test_without_training_images_or_checked_statements_the_error_names_the_setting() -> None:
    with pytest.raises(DataError, match=r"0 of the audited captions are of training images.*caption_audit\.images"):
        judge_attributes([], DERMOSCOPY, seed=0)
    silent = [AuditedImage(str(n), str(n), {}, {"shape": "round"}) for n in range(9)]
    with pytest.raises(DataError, match=r"no statement in the captions of 9 training images could be checked"):
        judge_attributes(silent, DERMOSCOPY, seed=0)
