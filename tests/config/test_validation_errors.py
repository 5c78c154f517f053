"""Any wrong tree of any model of settings ends in one readable error."""

import copy
import random

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from serve.settings import ServiceSettings
from tests.conftest import ROOT
from vapray.capacity.plan import Plan
from vapray.config import Config
from vapray.config.validation_errors import validate
from vapray.errors import ConfigError
from vapray.experiments.spec import Experiment
from vapray.service.api_keys import ApiKeys

EXPERIMENT = """
title: A
question: B
arms: {one: {settings: {train.steps: 1}, paper: {fid: 1.0}}, two: {note: c}}
contrasts: [{baseline: one, treatment: two}]
seeds: [0, 1]
"""
TREES = {
    Config: Config().model_dump(mode="json"),
    Plan: Plan().model_dump(mode="json") | {"gpus_per_stage": {"train": 2}, "settings": ["train.steps=1"]},
    Experiment: yaml.safe_load(EXPERIMENT),
    ServiceSettings: {
        "models": [{"name": "a", "checkpoint": "b", "batch_sizes": [1, 2], "replicas": {"max": 2}}],
        "limits": {"body_mib": 2},
    },
    ServeDeploySchema: yaml.safe_load((ROOT / "serve/config.yaml").read_text()),
    ApiKeys: {"keys": [{"id": "a", "sha256": "0" * 64, "scopes": ["images", "bank"]}]},
}
WRONG = (None, True, -1, 1.5, "x", "", [], [1, "x"], {}, {"x": 1}, {1: 2}, [[]], [{}], [None])


def nodes(tree: object) -> list[tuple[object, object]]:
    """Container and key of every value."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [pair for key, value in items for pair in ((tree, key), *nodes(value))]


@pytest.mark.parametrize("model", TREES, ids=lambda model: model.__name__)
def test_any_wrong_value_is_one_readable_error(model):
    dice = random.Random(0)
    messages = [message for _ in range(600) if (message := refusal(model, damaged(TREES[model], dice)))]
    assert len(messages) > 100
    for message in messages:
        assert message.startswith(("file.yaml: ", "file.yaml:\n"))
        assert "Input should be" not in message and "Extra inputs" not in message


def damaged(tree: object, dice: random.Random) -> object:
    """Replace or add one or two values."""
    tree = copy.deepcopy(tree)
    for _ in range(dice.randint(1, 2)):
        holder, key = dice.choice(nodes(tree))
        is_new = isinstance(holder, dict) and dice.random() < 0.2
        holder[dice.choice(("sed", "unknown", 3)) if is_new else key] = copy.deepcopy(dice.choice(WRONG))
    return tree


def refusal(model: type, tree: object) -> str:
    try:
        validate(model, tree, source="file.yaml")
    except ConfigError as error:
        return str(error)
    return ""
