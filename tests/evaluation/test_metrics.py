"""Laws of ``metrics.json``."""

import json
from dataclasses import replace

import numpy as np

from vapray.evaluation.metrics import Metrics
from vapray.metrics.intervals import Interval

CONTRACT = {
    "fid",
    "kid",
    "inception_score",
    "precision",
    "recall",
    "fid_untrained",
    "fid_class_mean",
    "fid_real_split",
    "label_accuracy",
    "caption_adherence",
    "caption_adherence_shuffled",
    "caption_adherence_ceiling",
    "n_real",
    "n_generated",
    "features",
    "stages",
}


def test_the_file_has_the_keys_that_others_rely_on(metrics: Metrics) -> None:
    written = json.loads(metrics.to_json())
    assert written.keys() >= CONTRACT
    assert written["stages"]["train"] == {"seconds": 121.7, "rows": 76800, "rows_per_second": 631.0}
    assert written["provenance"]["guidance_convention"] == "c + s (c - u)"
    assert written["intervals"]["fid"]["method"] == "half-sampling"


def test_numbers_that_are_not_finite_are_null_wherever_they_stand(metrics: Metrics) -> None:
    odd = replace(
        metrics,
        fid=float("nan"),
        further={"density": float("inf"), "coverage": float(np.float32(0.5))},
        intervals={"fid": Interval(float("-inf"), 1.0), "kid": None},
    )
    written = json.loads(odd.to_json(), parse_constant=lambda word: f"not JSON: {word}")
    assert written["fid"] is None
    assert written["further"] == {"density": None, "coverage": 0.5}
    assert written["intervals"]["fid"]["low"] is None
    assert written["intervals"]["kid"] is None


def test_numpy_scalars_become_plain_numbers(metrics: Metrics) -> None:
    odd = replace(metrics, fid=np.float64(1.5), n_real=np.int64(7))  # type: ignore[arg-type]
    assert json.loads(odd.to_json())["fid"] == 1.5
    assert json.loads(odd.to_json())["n_real"] == 7
