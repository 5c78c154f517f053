"""FID, KID, Inception Score, precision and recall of two sets of features: ours against torch-fidelity's.

    python -m tests.benchmarks.metrics [--images 10000] [--width 2048] [--rounds 3] [--threads 2]

Both get the same float32 features and logits, drawn once. Every measurement is a process of its own, ours and theirs by
turns; seconds are medians, memory is the process's largest resident set. torch-fidelity's KID is the mean over 100
subsets of 1,000 images, ours is of all pairs, whose expectation is the same: their difference is told in standard
errors of the former. It is also told how long ours takes where 20 halves give KID an interval, which theirs has not.
"""

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.benchmarks.table import report
from vapray.metrics.frechet import FeatureStatistics, frechet_distance
from vapray.metrics.inception import inception_score
from vapray.metrics.intervals import random_halves
from vapray.metrics.kid_and_prdc import kid_and_prdc

CLASSES, DIRECTIONS = 1008, 64
Numbers = dict[str, float]
Measures = dict[str, Callable[[], Numbers]]


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("images", 10_000), ("width", 2048), ("rounds", 3), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(asked.threads)  # of numpy, in the processes to come
    with tempfile.TemporaryDirectory() as folder:
        _draw(Path(folder), asked.images, asked.width)
        found: dict[str, list[dict[str, Any]]] = {"ours": [], "theirs": []}
        for _ in range(asked.rounds):
            for whose, runs in found.items():
                runs.append(_in_a_process(whose, Path(folder), asked.threads))
        halves = _in_a_process("halves", Path(folder), asked.threads)
    _report(asked, found["ours"], found["theirs"], halves)


def _report(
    asked: argparse.Namespace, ours: list[dict[str, Any]], theirs: list[dict[str, Any]], halves: dict[str, Any]
) -> None:
    mine, other = ours[0]["numbers"], theirs[0]["numbers"]
    shared = ("fid", "inception_score", "precision", "recall")
    report(
        "metrics",
        {
            "images": asked.images,
            "width": asked.width,
            "threads": asked.threads,
            "device": "cpu",
            "repetitions": asked.rounds,
        },
        {
            "vs_torch_fidelity": _median(theirs, "seconds") / _median(ours, "seconds"),
            "cpu_vs_torch_fidelity": _median(theirs, "cpu_seconds") / _median(ours, "cpu_seconds"),
        },
        {
            "peak_mb": _median(ours, "peak_mb"),
            "peak_mb_torch_fidelity": _median(theirs, "peak_mb"),
            "max_relative_difference": max(abs(mine[name] / other[name] - 1) for name in shared),
            "kid_difference_in_standard_errors": abs(mine["kid"] - other["kid"]) / other["kid_error"],
            **{f"seconds.{name}": _median(ours, name) for name in ours[0] if name.startswith("part.")},
            **{f"seconds_torch_fidelity.{name}": _median(theirs, name) for name in theirs[0] if "part." in name},
            "cpu_seconds": _median(ours, "cpu_seconds"),
            "cpu_seconds_torch_fidelity": _median(theirs, "cpu_seconds"),
            "seconds_with_halves_of_kid": halves["part.pairs"],
        },
    )


def _median(runs: list[dict[str, Any]], name: str) -> float:
    return float(np.median([run[name] for run in runs]))


def _draw(folder: Path, images: int, width: int) -> None:
    """Features that are never negative and span few directions, as behind a pooling layer."""
    rng = np.random.default_rng(0)
    directions = 0.1 * rng.standard_normal((DIRECTIONS, width), dtype=np.float32)
    for name, scale in (("real", 1.0), ("generated", 0.95)):
        along = scale * rng.standard_normal((images, DIRECTIONS), dtype=np.float32) @ directions
        across = 0.3 * rng.standard_normal((images, width), dtype=np.float32)
        np.save(folder / f"{name}.npy", np.maximum(along + across, 0))
    np.save(folder / "logits.npy", 2 * rng.standard_normal((images, CLASSES), dtype=np.float32))


def _in_a_process(whose: str, folder: Path, threads: int) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_measure, args=(there, whose, folder, threads))
    process.start()
    there.close()
    try:
        found: dict[str, Any] = here.recv()
    finally:
        process.join()
    return found


def _measure(answer: Connection, whose: str, folder: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    real, generated, logits = (np.load(folder / f"{name}.npy") for name in ("real", "generated", "logits"))
    measures = {"ours": _ours, "theirs": _theirs, "halves": _halves}[whose](real, generated, logits)
    began, began_cpu = time.perf_counter(), time.process_time()
    numbers: Numbers = {}
    parts = {}
    for name, work in measures.items():
        start = time.perf_counter()
        numbers |= work()
        parts[f"part.{name}"] = time.perf_counter() - start
    answer.send(
        {
            "numbers": numbers,
            "seconds": time.perf_counter() - began,
            "cpu_seconds": time.process_time() - began_cpu,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
            **parts,
        }
    )


def _ours(real: np.ndarray, generated: np.ndarray, logits: np.ndarray) -> Measures:
    def fid() -> Numbers:
        return {"fid": frechet_distance(FeatureStatistics.of(real), FeatureStatistics.of(generated))}

    def score() -> Numbers:
        probabilities = torch.from_numpy(logits).double().softmax(dim=1).numpy()
        return {"inception_score": inception_score(probabilities, seed=None).mean}

    def pairs() -> Numbers:
        found = kid_and_prdc(real, generated)
        return {"kid": found.kid, "precision": found.prdc.precision, "recall": found.prdc.recall}

    return {"fid": fid, "inception_score": score, "pairs": pairs}


def _halves(real: np.ndarray, generated: np.ndarray, logits: np.ndarray) -> Measures:
    def pairs() -> Numbers:
        halves = random_halves([len(real), len(generated)], 20, 0)
        found = kid_and_prdc(real, generated, halves)
        return {"spread": float(found.kid_of_halves.std())}

    return {"pairs": pairs}


def _theirs(real: np.ndarray, generated: np.ndarray, logits: np.ndarray) -> Measures:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

    one, other = torch.from_numpy(generated), torch.from_numpy(real)

    def fid() -> Numbers:
        moments = [fid_features_to_statistics(rows) for rows in (one, other)]
        return {"fid": fid_statistics_to_metric(*moments, False)["frechet_inception_distance"]}

    def score() -> Numbers:
        found = isc_features_to_metric(torch.from_numpy(logits), splits=10, shuffle=False)
        return {"inception_score": found["inception_score_mean"]}

    def kid() -> Numbers:
        size = min(1000, len(real))
        found = kid_features_to_metric(one, other, kid_subsets=100, kid_subset_size=size, verbose=False)
        mean, deviation = (found[f"kernel_inception_distance_{what}"] for what in ("mean", "std"))
        return {"kid": mean, "kid_error": deviation / 10}

    def neighbours() -> Numbers:
        found = prc_features_to_metric(one, other, prc_neighborhood=3, verbose=False)
        return {"precision": found["precision"], "recall": found["recall"]}

    return {"fid": fid, "inception_score": score, "kid": kid, "neighbours": neighbours}


if __name__ == "__main__":
    main()
