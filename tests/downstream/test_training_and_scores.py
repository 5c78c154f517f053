"""Classifiers learn what there is to learn, alike from one seed; their scores are what they are by hand."""

import numpy as np
import pytest
import torch

from tests.evaluation.pictures import scenes
from vapray.config.loader import load_config
from vapray.downstream.image_sets import LabelledImages, concat
from vapray.downstream.scores import score
from vapray.downstream.summary import markdown, summarize
from vapray.downstream.training import Phase, phases_of, probabilities, train_network
from vapray.errors import TrainingDivergedError
from vapray.metrics.intervals import t_interval

SETTINGS = load_config(None, ["downstream.steps=60"]).downstream


def drawn(count: int, seed: int) -> LabelledImages:
    images, labels = scenes(count, seed)
    return LabelledImages(images, labels, [f"{seed}-{number}" for number in range(count)])


def test_what_generated_images_teach_is_tested_on_real_ones():
    """Ten real images are too few; another hundred as good as real make up for it, and wrongly labelled ones do not."""
    few, many, test = drawn(10, 0), drawn(100, 1), drawn(100, 2)
    wrong = LabelledImages(many.images, (many.labels + 1) % 5, many.groups)
    found = {}
    for name, synthetic in (("none", None), ("good", many), ("wrong", wrong)):
        arm = "real+synthetic" if synthetic else "real"
        pictures = concat(few, synthetic) if synthetic else few
        phases = phases_of(arm, np.arange(10), np.arange(10, len(pictures.labels)), SETTINGS)
        network = train_network("small", pictures, phases, SETTINGS, num_classes=5, seed=0)
        found[name] = score(probabilities(network, test.images), test.labels)
    assert found["good"].auc > max(0.9, found["none"].auc + 0.02)
    assert found["good"].f1 > found["none"].f1 + 0.1
    assert found["wrong"].f1 < found["none"].f1


def test_one_seed_gives_one_network_and_torch_s_state_is_untouched():
    pictures, before = drawn(20, 0), torch.random.get_rng_state()
    phases = [Phase(np.arange(20), 4)]
    first, second, other = (
        probabilities(train_network("small", pictures, phases, SETTINGS, num_classes=5, seed=seed), pictures.images)
        for seed in (3, 3, 4)
    )
    assert torch.equal(before, torch.random.get_rng_state())
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, other)


def test_a_network_that_answers_nan_has_no_score():
    network = train_network("small", drawn(5, 0), [Phase(np.arange(5), 1)], SETTINGS, num_classes=5, seed=0)
    with torch.no_grad():
        network[-1].weight.fill_(float("nan"))
    with pytest.raises(TrainingDivergedError):
        probabilities(network, drawn(5, 1).images)


def area_by_pairs(scores: np.ndarray, is_positive: np.ndarray) -> float:
    """The share of pairs of a positive and a negative that stand in the right order; ties count half."""
    above = scores[is_positive][:, None] - scores[~is_positive][None, :]
    return float(((above > 0) + 0.5 * (above == 0)).mean())


def test_scores_are_those_of_counting():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 80) * 2  # classes 1 and 3 have no held-out images
    probabilities_NK = np.round(rng.dirichlet(np.ones(5), 80), 1)
    guessed = probabilities_NK.argmax(axis=1)
    areas, f1 = [], []
    for label in (0, 2, 4):
        is_it, said = labels == label, guessed == label
        areas.append(area_by_pairs(probabilities_NK[:, label], is_it))
        f1.append(2 * (is_it & said).sum() / (is_it.sum() + said.sum()))
    found = score(probabilities_NK, labels)
    assert found.auc == pytest.approx(np.mean(areas), abs=1e-6)
    assert found.f1 == pytest.approx(np.mean(f1), abs=1e-6)


def test_95_percent_intervals_over_three_seeds_hold_the_truth_in_95_percent():
    rng = np.random.default_rng(0)
    held = [interval for draw in rng.normal(0.7, 0.02, (2000, 3)) if (interval := t_interval(draw.tolist()))]
    assert 0.935 < np.mean([interval.low <= 0.7 <= interval.high for interval in held]) < 0.965
    assert t_interval([0.7]) is None


def row(arm: str, seed: int, auc: float) -> dict:
    shape = {"n_real": 12, "n_real_groups": 9, "n_synthetic": 0 if arm == "real" else 40, "steps": 60}
    return {"network": "small", "share": 0.1, "arm": arm, "seed": seed, "auc": auc, "f1": auc / 2, **shape}


def test_gains_are_differences_of_the_same_seeds():
    real = [row("real", seed, auc) for seed, auc in ((0, 0.6), (1, 0.8))]
    both = [row("real+synthetic", seed, auc) for seed, auc in ((1, 0.9), (0, 0.7))]
    without, with_synthetic = summarize([*real, *both])
    assert without.auc_gain is None
    assert with_synthetic.auc.value == pytest.approx(0.8)
    gain = with_synthetic.auc_gain
    assert gain is not None and gain.interval is not None
    assert gain.value == pytest.approx(0.1)
    assert gain.interval.high - gain.interval.low < 1e-9  # the seeds differ by 0.2, the gains do not
    assert summarize(both)[0].auc_gain is None


def test_the_table_states_regime_counts_and_intervals():
    groups = summarize([row(arm, seed, 0.5 + 0.1 * seed) for arm in ("real", "real+synthetic") for seed in (0, 1)])
    page = markdown(groups, "30 real images of the test split")
    assert "generator trained on all real training images" in page and "Tested on 30 real images" in page
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    assert {len(line) for line in lines} == {11}
    assert lines[3][:7] == ["small", "10 %", "12", "40", "real+synthetic", "60", "2"]
    assert lines[3][7].startswith("0.550 [") and lines[3][8].startswith("+0.000 [")
    assert summarize([row("real", 0, 0.5)])[0].auc.interval is None
