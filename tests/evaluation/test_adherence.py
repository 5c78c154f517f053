"""Laws of caption adherence and its controls."""

import math
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vapray.captioning.attributes import Attributes
from vapray.captioning.attributes import agreement as captioner_agreement
from vapray.captioning.caption_parser import parse_caption
from vapray.captioning.prompt_set import load_prompt_set
from vapray.errors import DataError
from vapray.evaluation.adherence import (
    CaptionedImages,
    entropy_bits,
    entropy_within_class_bits,
    measure_adherence,
    shuffled_partners,
)

SHAPES = ("round", "oval", "elongated")


def agreement(found: Attributes, wanted: Attributes) -> Mapping[str, float]:
    """Equality of choices, closeness of shares."""
    scores = {}
    for name, value in wanted.items():
        other = found[name]
        same = float(other == value)
        scores[name] = 1 - abs(value - other) if isinstance(value, float) and isinstance(other, float) else same
    return scores


def captions(count: int, seed: int) -> list[Attributes]:
    rng = np.random.default_rng(seed)
    return [{"shape": str(rng.choice(SHAPES)), "size": float(rng.uniform(0, 1))} for _ in range(count)]


def real(count: int = 60) -> CaptionedImages:
    wanted = captions(count, 99)
    return CaptionedImages(wanted, wanted, [i % 3 for i in range(count)])


def followed(share: float, count: int = 90) -> CaptionedImages:
    """A generator that follows this share of its captions and otherwise draws attributes blindly."""
    wanted, blind = captions(count, 0), captions(count, 1)
    obeys = np.random.default_rng(2).random(count) < share
    found = [wanted[i] if obeys[i] else blind[i] for i in range(count)]
    return CaptionedImages(found, wanted, [i % 3 for i in range(count)])


def test_a_generator_that_follows_every_caption_reaches_the_ceiling() -> None:
    result = measure_adherence(followed(1.0), real(), agreement)
    assert result.adherence == result.ceiling == 1.0
    assert result.relative == pytest.approx(1.0)


def test_a_generator_that_ignores_captions_does_not_leave_the_shuffled_control() -> None:
    result = measure_adherence(followed(0.0), real(), agreement)
    assert result.relative_interval is not None
    assert result.relative_interval.low < 0.0 < result.relative_interval.high
    assert result.relative < 0.2


def test_following_more_captions_scores_higher() -> None:
    values = [measure_adherence(followed(share), real(), agreement).relative for share in (0.0, 0.3, 0.6, 1.0)]
    assert values == sorted(values)
    assert values[2] == pytest.approx(0.6, abs=0.15)


def test_a_constant_caption_does_not_score() -> None:
    constant: list[Attributes] = [{"shape": "round", "size": 0.3}] * 60
    images = CaptionedImages(constant, constant, [0] * 60)
    result = measure_adherence(images, real(), agreement)
    assert result.adherence == result.shuffled == 1.0
    assert result.caption_entropy_bits == 0.0
    assert not result.relative > 0.0


def test_captions_that_only_name_the_class_do_not_score() -> None:
    labels = [i % 3 for i in range(90)]
    by_class: list[Attributes] = [{"shape": SHAPES[label], "size": 0.1 * label} for label in labels]
    blind = captions(90, 5)
    found = [by_class[i] if i % 2 else blind[i] for i in range(90)]
    result = measure_adherence(CaptionedImages(found, by_class, labels), real(), agreement)
    assert result.caption_entropy_within_class_bits == pytest.approx(0.0, abs=1e-9)
    assert result.caption_entropy_bits == pytest.approx(math.log2(3))
    assert result.adherence == pytest.approx(result.shuffled)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(1, 12), st.integers(0, 5))
def test_partners_are_different_others_of_the_class_each_used_equally(
    labels: list[int], rounds: int, seed: int
) -> None:
    partners = shuffled_partners(labels, rounds=rounds, seed=seed)
    sizes = Counter(labels)
    used = Counter(int(other) for row in partners for other in row)
    for image, (label, row) in enumerate(zip(labels, partners, strict=True)):
        expected = min(rounds, sizes[label] - 1)
        assert len(set(row.tolist())) == len(row) == expected == used[image]
        assert image not in row
        assert all(labels[other] == label for other in row)


def test_the_control_of_all_rounds_is_the_exact_mean_over_other_captions() -> None:
    images = followed(0.5, 12)
    expected = [
        np.mean([*agreement(images.found[i], images.wanted[j]).values()])
        for i in range(12)
        for j in range(12)
        if i != j and images.labels[i] == images.labels[j]
    ]
    for seed in (0, 1):
        result = measure_adherence(images, real(), agreement, rounds=99, seed=seed)
        assert result.shuffled == pytest.approx(np.mean(expected))


def test_an_image_alone_in_its_class_and_a_caption_without_attributes_are_left_out_and_counted() -> None:
    images = followed(1.0, 12)
    wanted = [*images.wanted[:11], {}]
    labels = [7, *images.labels[1:]]
    result = measure_adherence(CaptionedImages(images.found, wanted, labels), real(), agreement)
    assert (result.images, result.images_left_out) == (10, 2)
    assert result.adherence == 1.0


def test_rows_per_attribute_say_which_one_is_followed() -> None:
    images = followed(0.0)
    found: list[Attributes] = [
        {**blind, "shape": wanted["shape"]} for blind, wanted in zip(images.found, images.wanted, strict=True)
    ]
    result = measure_adherence(CaptionedImages(found, images.wanted, images.labels), real(), agreement)
    rows = {row.name: row for row in result.attributes}
    assert rows["shape"].adherence == 1.0 > rows["shape"].shuffled
    assert rows["size"].adherence < rows["size"].ceiling
    assert rows["size"].mentioned == 90


def test_scores_that_are_nan_count_as_not_mentioned() -> None:
    def half_known(found: Attributes, wanted: Attributes) -> Mapping[str, float]:
        return {**agreement(found, wanted), "size": float("nan")}

    result = measure_adherence(followed(1.0), real(), half_known)
    rows = {row.name: row for row in result.attributes}
    assert result.adherence == 1.0
    assert rows["size"].mentioned == 0
    assert math.isnan(rows["size"].adherence)


def test_without_two_comparable_images_there_is_no_adherence() -> None:
    images = followed(1.0, 3)
    with pytest.raises(DataError, match="share a class"):
        measure_adherence(images, real(), agreement)
    with pytest.raises(DataError, match="lengths"):
        CaptionedImages(images.found, images.wanted, [0])


def test_entropy_counts_what_captions_say() -> None:
    assert entropy_bits(["a"] * 8) == 0.0
    assert entropy_bits(list("abcdefgh")) == pytest.approx(3.0)
    assert entropy_within_class_bits(list("aabb"), [0, 0, 1, 1]) == 0.0
    assert entropy_within_class_bits(list("abab"), [0, 0, 1, 1]) == pytest.approx(1.0)


def test_parsed_captions_are_scored_by_the_agreement_of_the_captioner() -> None:
    prompt_set = load_prompt_set("dermoscopy")
    texts = ["A round lesion with a smooth outline.", "An oval lesion with an irregular outline."] * 6
    wanted = [parse_caption(text, prompt_set) for text in texts]
    assert wanted[0] != wanted[1]

    def score(found: Attributes, asked: Attributes) -> Mapping[str, float]:
        return captioner_agreement(found, asked, prompt_set)

    images = CaptionedImages(wanted, wanted, [0] * 12)
    result = measure_adherence(images, images, score)
    assert result.adherence == result.ceiling == result.relative == 1.0
    assert result.shuffled == pytest.approx(5 / 11)
    assert {row.name for row in result.attributes} >= {"shape", "outline"}


def test_each_attribute_has_its_excess_and_the_score_of_real_images_as_they_are():
    result = measure_adherence(followed(1.0), real(), agreement, original=real())
    assert result.real == result.ceiling
    assert {row.real for row in result.attributes} == {row.ceiling for row in result.attributes}
    for row in result.attributes:
        assert row.excess.low <= row.adherence - row.shuffled <= row.excess.high and row.excess.low > 0
    blind = measure_adherence(followed(0.0), real(), agreement)
    assert all(row.excess.low <= 0 <= row.excess.high and math.isnan(row.real) for row in blind.attributes)
    assert math.isnan(blind.real)
