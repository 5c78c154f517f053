"""Ablations of the recipe `modern` on phantoms: one choice changed at a time, at equal time, over seeds.

    python -m tests.benchmarks.ablations [--squeezenet FILE] [--seconds 90] [--images 320] [--tables-only]
        [--experiment jobs/experiments/recipe.yaml] [--records results/recipe]

Arms and seeds are those of the experiment file. The processor time of a step of each arm, measured in turns, gives it
the number of steps that fill ``--seconds``; ``steps.json`` keeps them, so that runs are repeatable by steps. Each run
has one thread on a core of its own, and as many run side by side as there are cores. A finished run leaves one record;
a second call goes on where the first was ended.

``adherence_gap_closed`` is (adherence - shuffled) / (real - shuffled) by the attribute judge. Distances are Frechet
distances of images for training captions to the training images: ``feature_distance`` in random convolutions,
``squeezenet_distance`` in SqueezeNet. Differences are those to ``modern``, paired by seed, with 95 % t-intervals.
"""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from tests.benchmarks.learning import Problem, arm, steps_that_fill
from vapray.config import Evaluate
from vapray.evaluation.features import build_extractor
from vapray.experiments.spec import Experiment, read_experiment, slug
from vapray.metrics.intervals import t_interval

BASELINE = "modern"
PROBLEM: dict[str, Problem] = {}
"""The problem of this process."""


def begin(cores: "SimpleQueue[int]", squeezenet: str | None) -> None:
    """Keep this process on a core of its own, and draw and train what all arms share."""
    os.sched_setaffinity(0, {cores.get()})
    torch.set_num_threads(1)
    extractors = {}
    if squeezenet:
        asked = Evaluate(features="squeezenet", weights=squeezenet, preprocessing="caffe")
        extractors["squeezenet"] = build_extractor(asked)
    PROBLEM["one"] = Problem("dermoscopy", extractors)


def time_steps(seconds: float, changes: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Steps of each arm."""
    return steps_that_fill(PROBLEM["one"], seconds, changes)


def run_arm(changes: Sequence[str], seed: int, steps: int, images: int) -> dict[str, float]:
    """Train one arm and measure it."""
    trained = arm(PROBLEM["one"], changes, seed, steps)
    while trained.state.step < steps:
        trained.step()
    return {"steps": steps, **PROBLEM["one"].values(trained, images, seed)}


def changes_of(experiment: Experiment) -> dict[str, list[str]]:
    """Overrides of each arm."""
    rows = experiment.arms.items()
    return {name: [f"{key}={json.dumps(value)}" for key, value in row.settings.items()] for name, row in rows}


def run_all(asked: argparse.Namespace, experiment: Experiment) -> None:
    """Make the records that are missing."""
    changes, plan = changes_of(experiment), asked.records / "steps.json"
    cores = sorted(os.sched_getaffinity(0))
    context = get_context("spawn")
    free = context.SimpleQueue()
    for core in cores:
        free.put(core)
    with ProcessPoolExecutor(len(cores), context, begin, (free, asked.squeezenet)) as pool:
        if not plan.exists():
            every = list(pool.map(time_steps, [asked.seconds] * len(cores), [changes] * len(cores)))
            plan.parent.mkdir(parents=True, exist_ok=True)
            counts = {name: int(fmean(one[name] for one in every)) for name in changes}
            write(plan, {"seconds": asked.seconds, "images": asked.images, "steps": counts})
        planned = json.loads(plan.read_text())
        if (planned["seconds"], planned["images"]) != (asked.seconds, asked.images):
            raise SystemExit(f"{plan}: made with other --seconds or --images. Fix: give these, or another --records.")
        steps = planned["steps"]
        jobs = {}
        for seed in experiment.seeds:
            for name in changes:
                if not (record := record_of(asked.records, name, seed)).exists():
                    jobs[record] = pool.submit(run_arm, changes[name], seed, steps[name], asked.images)
        for record, job in jobs.items():
            record.parent.mkdir(exist_ok=True)
            write(record, job.result())
            print(record, flush=True)


def record_of(folder: Path, name: str, seed: int) -> Path:
    """File of one run."""
    return folder / slug(name) / f"seed{seed}.json"


def write(path: Path, values: Mapping[str, Any]) -> None:
    """Write a record."""
    path.write_text(json.dumps(values, indent=1) + "\n")


def table(folder: Path, experiment: Experiment) -> str:
    """Table of all arms, in Markdown: means over seeds, and differences to the baseline with intervals."""
    kept = {
        name: [json.loads(record_of(folder, name, seed).read_text()) for seed in experiment.seeds]
        for name in experiment.arms
    }
    metrics = [key for key in kept[BASELINE][0] if key == "adherence_gap_closed" or key.endswith("_distance")]
    heads = ["change", "steps", *(f"`{key}`" for key in metrics)]
    lines = [heads, ["---"] * len(heads)]
    for name, records in kept.items():
        cells = [name, f"{records[0]['steps']:,}"]
        for key in metrics:
            text = f"{fmean(one[key] for one in records):.3g}"
            differences = [one[key] - base[key] for one, base in zip(records, kept[BASELINE], strict=True)]
            interval = t_interval(differences, level=0.95)
            if name != BASELINE and interval:
                text += f" ({fmean(differences):+.2g}; {interval.low:+.2g} to {interval.high:+.2g})"
            cells.append(text)
        lines.append(cells)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", default="jobs/experiments/recipe.yaml")
    parser.add_argument("--records", type=Path, default=Path("results/recipe"))
    parser.add_argument("--squeezenet")
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--tables-only", action="store_true")
    asked = parser.parse_args()
    experiment = read_experiment(asked.experiment)
    if not asked.tables_only:
        run_all(asked, experiment)
    names = [(name, seed) for name in experiment.arms for seed in experiment.seeds]
    if missing := [name for name in names if not record_of(asked.records, *name).exists()]:
        parser.error(f"{asked.records}: {len(missing)} of {len(names)} records are missing; run without --tables-only")
    print(table(asked.records, experiment))


if __name__ == "__main__":
    main()
