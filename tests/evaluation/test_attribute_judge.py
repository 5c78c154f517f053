"""Laws of the attribute judge of phantoms."""

import numpy as np
import pytest
import torch

from vapray.captioning.attributes import Attributes, agreement
from vapray.captioning.prompt_set import load_prompt_set
from vapray.data.phantom.modalities import find_modality
from vapray.data.phantom.plan import draw_view, plan_views
from vapray.errors import DataError
from vapray.evaluation.attribute_judge import _augmented, judged_attributes, read_judge, train_judge

CHEST = load_prompt_set("chest_xray")


def phantoms(count: int, seed: int) -> tuple[np.ndarray, list[Attributes]]:
    modality = find_modality("chest_xray")
    views = plan_views(modality, count, seed=seed, shares={"train": 1.0})
    return np.stack([draw_view(modality, view, 32, 32) for view in views]), [view.attributes for view in views]


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, list[Attributes]]:
    return phantoms(160, 0)


def test_it_learns_what_was_drawn(drawn) -> None:
    images, truths = drawn
    specs = judged_attributes(CHEST, truths)
    judge = train_judge(images, truths, specs, upright=True, steps=120, batch_images=32)
    others, known = phantoms(60, 1)
    scores = [agreement(found, wanted, CHEST) for found, wanted in zip(judge.attributes(others), known, strict=True)]
    assert np.mean([score["opacity_location"] for score in scores]) > 0.7
    assert np.mean([score["heart_width"] for score in scores]) > 0.7


def test_the_same_seed_gives_the_same_judge_and_torch_s_state_is_untouched(drawn) -> None:
    images, truths = drawn
    specs, before = judged_attributes(CHEST, truths), torch.random.get_rng_state()
    first, again, other = (train_judge(images, truths, specs, upright=False, seed=s, steps=2) for s in (3, 3, 4))
    assert torch.equal(before, torch.random.get_rng_state())
    assert first.to_safetensors() == again.to_safetensors() != other.to_safetensors()
    loaded = read_judge(first.to_safetensors(), specs)
    whole, apart = loaded.attributes(images[:9]), first.attributes(images[:9], batch_images=2)
    assert [one["opacity_location"] for one in whole] == [one["opacity_location"] for one in apart]
    assert [one["lung_area"] for one in whole] == pytest.approx([one["lung_area"] for one in apart], abs=1e-5)
    with pytest.raises(DataError, match="not a judge of lung_area"):
        read_judge(first.to_safetensors()[:-1], specs)


def test_only_attributes_that_are_known_of_all_images_are_judged(drawn) -> None:
    known = drawn[1][0]
    assert set(judged_attributes(CHEST, [known])) == set(CHEST.attributes)
    assert "symmetry" not in judged_attributes(CHEST, [known, {**known, "symmetry": "lopsided"}])
    assert "lung_area" not in judged_attributes(CHEST, [known, {**known, "lung_area": "wide"}])
    assert "heart_width" not in judged_attributes(CHEST, [{k: v for k, v in known.items() if k != "heart_width"}])


def test_an_upright_image_is_shifted_and_never_turned() -> None:
    ramp = torch.arange(16.0).expand(4, 3, 16, 16)
    for seed in range(20):
        view = _augmented(ramp, torch.Generator().manual_seed(seed), upright=True)
        assert (view.diff(dim=3) >= 0).all() and (view.diff(dim=2) == 0).all()
    turned = _augmented(ramp, torch.Generator().manual_seed(0), upright=False)
    assert (turned.diff(dim=2) != 0).any()
    assert turned.min() >= 0 and turned.max() <= 15


def test_images_without_their_attributes_are_refused(drawn) -> None:
    images, truths = drawn
    with pytest.raises(DataError, match="160 images and 159"):
        train_judge(images, truths[1:], judged_attributes(CHEST, truths), upright=True)


def test_a_prompt_set_of_other_attributes_is_told(drawn) -> None:
    images, truths = drawn
    specs = judged_attributes(load_prompt_set("dermoscopy"), truths)
    with pytest.raises(DataError, match=r"set evaluate\.judge_steps=0"):
        train_judge(images, truths, specs, upright=True)
