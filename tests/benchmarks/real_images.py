"""The recipe ``modern`` beside version 0.1.0's on real dermoscopic images of 64 pixels: one core an arm, equal time.

    python -m tests.benchmarks.real_images --images FOLDER --dinov2 FOLDER --squeezenet FILE [--minutes 15] [--seeds 3]
        [--work FOLDER] [--change KEY=VALUE ...]

``--images`` is the folder that results/ham10000.py writes. Both arms have the training split (by lesion), captions of
image analysis, classes drawn alike and a process on a core of its own, and run side by side. The steps of an arm are
those that fill ``--minutes`` with all that it needs: timed once, side by side too, and the same for all seeds.

modern   jobs/configs/isic2018_small.yaml; ``--change`` overrides its settings
paper    0.1.0's jobs/configs/isic2018_small.yaml: an autoencoder fitted in the run, with as many steps as the network

Distances are Frechet distances of 1,000 generated images, for captions of training images, to 2,000 training images.
``held_out`` is the distance of the test split. Label accuracy is that of a classifier trained on the training split,
balanced over classes; ``gap_closed`` is (adherence - shuffled) / (real - shuffled) by image analysis. ``--work`` keeps
the prepared images, the steps, and the values of each seed with a contact sheet of each arm: a second call goes on
where the first was ended.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.benchmarks.dermoscopy import SIDE, CaptionedSet, DermoscopyJudge, read_splits
from tests.benchmarks.table import report
from tests.benchmarks.training_arm import Images, TrainingArm, TrainingSet, fit_latents
from tests.conftest import ROOT
from vapray.config import Config
from vapray.config.loader import load_config

GENERATED, TIMED_STEPS = 1000, 100
SHARED = ("train.workers=1", f"data.image_size={SIDE}")
PAPER = ("train.class_balanced_sampling=true", "autoencoder.width=16", "train.warmup_steps=100")
ARMS = ("modern", "paper")


def config_of(name: str, seed: int, steps: int, changes: Sequence[str]) -> Config:
    """Configuration of an arm."""
    counts = (f"run.seed={seed}", f"train.steps={steps}", f"autoencoder.steps={steps}")
    if name == "modern":
        return load_config(ROOT / "jobs/configs/isic2018_small.yaml", [*SHARED, *counts, *changes])
    return load_config(None, [*SHARED, *counts, *PAPER, *changes], preset="paper")


def pin(core: int) -> None:
    """Keep this process on one core."""
    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)


def train_arm(work: str, name: str, seed: int, steps: int, changes: Sequence[str]) -> dict[str, Any]:
    """Train one arm and generate its images; runs in a process of its own.

    Returns:
        ``images``; ``owners``, the training images whose captions they are for; ``seconds`` of all but sampling;
        ``fit`` and ``step``, the median seconds of a step of the autoencoder and of the network; ``once``, the rest.
    """
    names, splits = read_splits(Path(), Path(work))
    training, config = splits["train"], config_of(name, seed, steps, changes)
    began, marks = time.perf_counter(), [0.0]
    autoencoder = fit_latents(config, training.images, lambda *_: marks.append(time.perf_counter()))
    data = TrainingSet.of(training.images, training.labels, training.captions, names, autoencoder)
    arm = TrainingArm(data, config)
    took = [arm.step() for _ in range(steps)]
    seconds = time.perf_counter() - began
    owners = np.random.default_rng(seed).choice(len(training.labels), GENERATED, replace=False).tolist()
    wanted = owners if steps > TIMED_STEPS else owners[:8]
    images = arm.generate([training.labels[i] for i in wanted], [training.captions[i] for i in wanted])
    fit, step = float(np.median(np.diff(marks)[2:])) if len(marks) > 3 else 0.0, statistics.median(took)
    once = seconds - steps * (fit + step)
    return {"images": images, "owners": wanted, "seconds": seconds, "fit": fit, "step": step, "once": once}


def run_seeds(
    asked: argparse.Namespace, training: CaptionedSet, judge: DermoscopyJudge
) -> tuple[dict[str, int], list[dict[str, dict[str, float]]]]:
    """Train both arms side by side for every seed; the steps of each arm, and its values by seed."""
    pools = {
        name: ProcessPoolExecutor(1, initializer=pin, initargs=(core,))
        for name, core in zip(ARMS, sorted(os.sched_getaffinity(0)), strict=False)
    }
    changes = {"modern": asked.change, "paper": []}

    def side_by_side(seed: int, steps: dict[str, int]) -> dict[str, dict[str, Any]]:
        jobs = {
            name: pool.submit(train_arm, str(asked.work), name, seed, steps[name], changes[name])
            for name, pool in pools.items()
        }
        return {name: job.result() for name, job in jobs.items()}

    plan = asked.work / "steps.json"
    if not plan.exists():
        timed = side_by_side(0, dict.fromkeys(ARMS, TIMED_STEPS))
        fitting = {name: (60 * asked.minutes - one["once"]) / (one["fit"] + one["step"]) for name, one in timed.items()}
        counts = {name: int(count) for name, count in fitting.items()}
        plan.write_text(json.dumps({"minutes": asked.minutes, "change": asked.change, "steps": counts}))
    planned = json.loads(plan.read_text())
    if (planned["minutes"], planned["change"]) != (asked.minutes, asked.change):
        raise SystemExit(f"{plan}: made with other --minutes or --change. Fix: give these, or another --work.")
    steps: dict[str, int] = planned["steps"]
    print("steps: " + ", ".join(f"{name} {count}" for name, count in steps.items()), flush=True)
    found: list[dict[str, dict[str, float]]] = []
    for seed in range(asked.seeds):
        kept = asked.work / f"seed-{seed}.json"
        if not kept.exists():
            values = {}
            for name, one in side_by_side(seed, steps).items():
                write_sheet(asked.work / f"{name}-{seed}.png", one["images"])
                judged = judge.judge(training.generated(one["owners"], one["images"]))
                values[name] = {"seconds": one["seconds"], **judged}
            kept.write_text(json.dumps(values))
        found.append(json.loads(kept.read_text()))
        for name in ARMS:
            print_values(f"seed {seed} {name}", found[-1][name])
    return steps, found


def write_sheet(path: Path, images: Images, columns: int = 12, rows: int = 8) -> None:
    """Write a contact sheet."""
    grid = images[: columns * rows].reshape(rows, columns, SIDE, SIDE, 3)
    Image.fromarray(grid.transpose(0, 2, 1, 3, 4).reshape(rows * SIDE, columns * SIDE, 3)).save(path)


def print_values(name: str, values: Mapping[str, float]) -> None:
    """Print one line."""
    print(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in values.items()), flush=True)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("images", "dinov2", "squeezenet"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("runs/real_images"))
    parser.add_argument("--change", action="append", default=[])
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    names, splits = read_splits(asked.images, asked.work)
    judge = DermoscopyJudge(len(names), splits, asked.dinov2, asked.squeezenet)
    print_values("held out", judge.held_out_values)
    steps, found = run_seeds(asked, splits["train"], judge)
    ratios = {
        f"{key}_vs_paper": statistics.median(seed["modern"][key] / seed["paper"][key] for seed in found)
        for key in judge.held_out_values
    }
    values = {f"held_out_{key}": value for key, value in judge.held_out_values.items()}
    for name in ARMS:
        values |= {f"{name}_{key}": statistics.median(seed[name][key] for seed in found) for key in found[0][name]}
    counts = {f"{name}_steps": count for name, count in steps.items()}
    report("real_images", {"minutes": asked.minutes, "seeds": asked.seeds, **counts}, ratios, values)


if __name__ == "__main__":
    main()
