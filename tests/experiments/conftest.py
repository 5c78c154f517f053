"""An experiment of two arms, two seeds and two evaluators, and records of its runs."""

import pytest

from vapray.experiments.records import Record, RunName
from vapray.experiments.spec import Experiment, read_experiment

BUDGET = {"parameters": 330_402, "forward_flops": 81e6, "steps": 1250, "images": 80_000, "train_seconds": 90.0}
EXPERIMENT = """
title: A title
question: A question?
settings: {data.image_size: 32}
seeds: [0, 1]
evaluators: {plain: {}, halved: {evaluate.half_samples: 4}}
arms:
  one: {settings: {train.steps: 9}, paper: {fid: 19.8}}
  two: {note: a note}
metrics: [fid, recall]
contrasts: [{baseline: one, treatment: two, metric: fid}]
"""


@pytest.fixture
def experiment(tmp_path) -> Experiment:
    return written(tmp_path, EXPERIMENT)


def written(folder, text: str) -> Experiment:
    (folder / "e.yaml").write_text(text)
    return read_experiment(str(folder / "e.yaml"))


def record(name: RunName, fid: float, settings=None) -> Record:
    provenance = {"extractor": "e", "resize": 64, "captioner": "measured captions", "preparation": "p"}
    metrics = {"fid": fid, "recall": None, "n_generated": 600, "n_real": 500, "provenance": provenance}
    metrics |= {"further": {"n_held_out": 90}, "warnings": ["few pictures"]}
    return Record(name.row, name.measure, name.seed, settings or {}, metrics, BUDGET)
