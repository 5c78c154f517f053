"""Laws of true captions, and of those that are made wrong in part."""

import numpy as np
import pytest

from vapray.captioning.attributes import agreement
from vapray.captioning.caption_parser import parse_caption
from vapray.captioning.captioner import CaptionReject
from vapray.captioning.ground_truth import GroundTruthCaptions, corrupt_attributes
from vapray.captioning.prompt_set import load_prompt_set
from vapray.data.phantom.modalities import MODALITIES


def truth_of(modality: str, count: int = 200):
    drawn, rng = MODALITIES[modality], np.random.default_rng(0)
    names = drawn.class_names
    return {f"image-{n}": drawn.draw_attributes(names[n % len(names)], rng) for n in range(count)}


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_true_caption_says_what_was_drawn(modality):
    prompt_set, truth = load_prompt_set(modality), truth_of(modality)
    captions = GroundTruthCaptions(truth, prompt_set)
    scores = [
        score
        for image_id, known in truth.items()
        for score in agreement(
            parse_caption(captions.caption_for(image_id, "train").caption, prompt_set), known, prompt_set
        ).values()
        if not np.isnan(score)
    ]
    assert np.mean(scores) > 0.97  # sizes are rounded as people round them


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_asked_share_of_attributes_is_wrong_and_all_of_them_at_one(modality):
    prompt_set, truth = load_prompt_set(modality), truth_of(modality, 400)
    for share in (0.0, 0.3, 1.0):
        wrong = [
            made[name] != value
            for number, known in enumerate(truth.values())
            for made in [corrupt_attributes(known, prompt_set, share, np.random.default_rng(number))]
            for name, value in known.items()
        ]
        assert np.mean(wrong) == pytest.approx(share, abs=0.04 if 0 < share < 1 else 0)


def test_what_is_wrong_at_a_small_share_is_wrong_alike_at_a_larger_one():
    prompt_set, truth = load_prompt_set("dermoscopy"), truth_of("dermoscopy")
    for number, known in enumerate(truth.values()):
        few, many = (
            corrupt_attributes(known, prompt_set, share, np.random.default_rng(number)) for share in (0.1, 0.6)
        )
        assert all(many[name] == value for name, value in few.items() if value != known[name])


def test_only_the_chosen_attributes_are_made_wrong_and_as_they_are_with_all():
    prompt_set, truth = load_prompt_set("dermoscopy"), truth_of("dermoscopy")
    for number, known in enumerate(truth.values()):
        every, some = (
            corrupt_attributes(known, prompt_set, 0.6, np.random.default_rng(number), names)
            for names in ((), ("shape", "size"))
        )
        assert some == known | {name: every[name] for name in ("shape", "size")}


def test_only_captions_of_training_images_are_made_wrong():
    prompt_set, truth = load_prompt_set("dermoscopy"), truth_of("dermoscopy")
    true, wrong = GroundTruthCaptions(truth, prompt_set), GroundTruthCaptions(truth, prompt_set, share=1.0)
    assert all(wrong.caption_for(image_id, "test") == true.caption_for(image_id, "test") for image_id in truth)
    assert all(wrong.caption_for(image_id, "train") != true.caption_for(image_id, "train") for image_id in truth)
    assert isinstance(true.caption_for("elsewhere", "train"), CaptionReject)
