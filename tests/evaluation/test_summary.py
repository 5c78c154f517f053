"""Pictures to findings in one plain process, with an extractor that is not the embedded one."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from vapray.captioning.prompt_set import load_prompt_set
from vapray.config import Config, Evaluate
from vapray.config.loader import load_config
from vapray.evaluation.classifier import Classifier, train_classifier
from vapray.evaluation.extractors.extractor import FeatureSpace
from vapray.evaluation.features import build_extractor
from vapray.evaluation.measurement import IMAGE_SETS, ImageMeasurer, stack_features
from vapray.evaluation.summary import EvaluationSummary, summarize
from vapray.metrics.inception import inception_score

from .pictures import noisy, scenes

COUNT = 60


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(None, ["evaluate.features=classifier", "evaluate.prd=true", "evaluate.half_samples=2"])


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return train_classifier(*scenes(COUNT, 0), 5, steps=10)


@pytest.fixture(scope="module")
def rows(config: Config, classifier: Classifier) -> list[dict]:
    examiner = ImageMeasurer(build_extractor(config.evaluate, classifier=classifier), classifier, config.data.modality)
    found = []
    for number, name in enumerate(IMAGE_SETS):
        images, labels = scenes(COUNT, number)
        images = noisy(images, 40.0) if name in ("untrained", "class_mean") else images
        found += examiner.rows(name, [f"{i:03d}" for i in range(COUNT)], labels.tolist(), images)
    return found


def findings(rows: list[dict], space: FeatureSpace, config: Config) -> EvaluationSummary:
    captions = {row["key"]: "A large oval lesion." for row in rows if row["set"] in ("generated", "reconstructed")}
    sources = {row["key"]: row["key"].replace("sample", "image") for row in rows if row["set"] == "generated"}
    return summarize(rows, captions, sources, {}, load_prompt_set(config.prompt_set), space, config)


def test_the_classifier_s_features_become_findings(config: Config, classifier: Classifier, rows: list[dict]) -> None:
    space = build_extractor(Evaluate(features="classifier"), classifier=classifier).space
    found = findings(rows, space, config)
    assert found.fid_floors["untrained"] > 1.3 * found.fid_floors["held_out"] > 0
    assert found.kid_floors.keys() == {"held_out", "reconstructed"}
    assert all(math.isfinite(value) for value in found.kid_floors.values())
    assert found.distributions is not None
    assert 0.5 < found.distributions.f8 <= 1
    assert math.isfinite(found.scores.kid)
    assert found.n_generated == COUNT
    assert found.source_rank is not None and found.source_rank.images == COUNT


def test_a_network_with_classes_gives_the_inception_score(
    config: Config, classifier: Classifier, rows: list[dict]
) -> None:
    space = build_extractor(Evaluate(features="classifier"), classifier=classifier).space
    made = stack_features([row for row in rows if row["set"] == "generated"])
    head = np.random.default_rng(0).standard_normal((7, space.width)).astype(np.float32)
    own = replace(space, class_weights=head)
    logits = made @ head.T.astype(np.float64)
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    wanted = inception_score(probabilities / probabilities.sum(axis=1, keepdims=True), seed=config.run.seed).mean
    assert findings(rows, own, config).inception_score == pytest.approx(wanted, rel=1e-9)
    assert findings(rows, space, config).inception_score != pytest.approx(wanted, rel=1e-3)


def test_an_attribute_that_the_judge_does_not_know_counts_neither_for_nor_against(
    config: Config, classifier: Classifier, rows: list[dict]
) -> None:
    judging = config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"judge_steps": 5})})
    judged = [{**row, "judged": json.dumps({"shape": "oval"})} for row in rows]
    truths = {row["key"]: {"shape": "oval", "size": 0.1} for row in rows if row["set"] == "held_out"}
    captions = {
        row["key"]: "A large oval lesion." for row in rows if row["set"] in ("generated", "reconstructed", "held_out")
    }
    space = build_extractor(Evaluate(features="classifier"), classifier=classifier).space
    found = summarize(judged, captions, {}, truths, load_prompt_set(config.prompt_set), space, judging).judge
    assert found is not None
    assert found.accuracy == {"shape": 1.0}
    assert found.adherence.adherence == 1.0
