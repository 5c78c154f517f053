"""Other projects beside vapray on real dermoscopic images of 64 pixels, at equal processor time of one core.

    uv pip install --target FOLDER --no-deps -r tests/benchmarks/peers.txt
    PYTHONPATH=FOLDER python -m tests.benchmarks.peers --images FOLDER --dinov2 FOLDER --squeezenet FILE
        --uvit CHECKOUT [--minutes 10] [--seeds 1] [--work FOLDER] [--arms 'NAME;NAME']

``--images`` is the folder that results/ham10000.py writes, ``--uvit`` a checkout of github.com/baofff/U-ViT. Every arm
gets the same training images, mirror images, batches of 32, classes drawn alike (SNGAN, without classes: images drawn
alike), and ``--minutes`` of processor time on one thread for all that it trains. ``tests.benchmarks.peer_networks``
states sizes, objectives and samplers. A peer with an own learning rate far below 1e-3 has a second arm with 1e-3, since
few steps are taken.

vapray           jobs/configs/isic2018_small.yaml, captions of image analysis
vapray, classes  the same with classes only, and without prototypes

Distances are Frechet distances of 500 generated images to 2,000 training images; ``held_out`` is that of as many test
images. Label accuracy is that of a classifier trained on the training split, balanced over classes; a model without
classes has none. ``--work`` keeps the values and a contact sheet of each arm: a second call goes on where the first was
ended.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tests.benchmarks.dermoscopy import SIDE, CaptionedSet, DermoscopyJudge, read_splits
from tests.benchmarks.peer_networks import PEERS
from tests.benchmarks.peer_training import Peer, TrainingImages
from tests.benchmarks.real_images import pin, print_values, write_sheet
from tests.benchmarks.table import report
from tests.benchmarks.training_arm import TrainingArm, TrainingSet, fit_latents
from tests.conftest import ROOT
from vapray.config.loader import load_config

GENERATED, WARMING_STEPS, TIMED_STEPS, RATE = 500, 10, 50, 1e-3
OWN = {"vapray": (), "vapray, classes": ("model.condition=class", "model.prototypes.enabled=false")}
FAST = " 1e-3"
"""End of the name of an arm with this learning rate."""
ARMS = (*OWN, *PEERS, *(f"{name}{FAST}" for name, (_, rate) in PEERS.items() if rate < RATE / 2))
MEASURED = ("fd_dinov2", "fd_squeezenet", "label_accuracy")


def train_own(
    training: CaptionedSet, names: list[str], name: str, seed: int, seconds: float
) -> tuple[TrainingArm, int, float]:
    """Train an arm of vapray for some processor time and return it, its steps and seconds.

    Its schedule needs the number of steps, so some are timed first, which does not count.
    """

    def begin(steps: int) -> TrainingArm:
        settings = [f"run.seed={seed}", f"train.steps={steps}", "train.workers=1", f"data.image_size={SIDE}"]
        config = load_config(ROOT / "jobs/configs/isic2018_small.yaml", [*settings, *OWN[name]])
        autoencoder = fit_latents(config, training.images)
        data = TrainingSet.of(training.images, training.labels, training.captions, names, autoencoder)
        return TrainingArm(data, config)

    def take(arm: TrainingArm, steps: int) -> float:
        began = time.process_time()
        for _ in range(steps):
            arm.step()
        return time.process_time() - began

    began = time.process_time()
    arm = begin(10_000)
    once = time.process_time() - began
    take(arm, WARMING_STEPS)
    steps = int((seconds - once) / (take(arm, TIMED_STEPS) / TIMED_STEPS))
    arm = begin(steps)
    return arm, steps, once + take(arm, steps)


def train_peer(peer: Peer, seconds: float) -> int:
    """Train a peer for some processor time and return the number of steps."""
    began, steps = time.process_time(), 0
    while (spent := time.process_time() - began) < seconds:
        peer.step(spent / seconds)
        steps += 1
    return steps


def run_arm(asked: argparse.Namespace, name: str, seed: int) -> dict[str, Any]:
    """Train an arm and draw its images, in a process of its own."""
    torch.manual_seed(seed)
    names, splits = read_splits(Path(), asked.work)
    training, seconds = splits["train"], 60 * asked.minutes
    owners = np.random.default_rng(seed).choice(len(training.labels), GENERATED, replace=False).tolist()
    labels = [training.labels[owner] for owner in owners]
    if name in OWN:
        arm, steps, trained = train_own(training, names, name, seed, seconds)
        began, classes = time.process_time(), True
        network: nn.Module = arm.state.model
        images = arm.generate(labels, [training.captions[owner] for owner in owners])
    else:
        build, rate = PEERS[name.removesuffix(FAST)]
        given = TrainingImages(training.images, training.labels, len(names))
        places = {"checkout": asked.uvit} if name.startswith("U-ViT") else {}
        peer = build(given, RATE if name.endswith(FAST) else rate, seed, **places)
        began = time.process_time()
        steps = train_peer(peer, seconds)
        trained, network, classes = time.process_time() - began, peer.network, peer.classes
        began = time.process_time()
        images = peer.generate(labels)
    drawing = time.process_time() - began
    values: dict[str, float] = {"steps": steps, "parameters": sum(weight.numel() for weight in network.parameters())}
    values |= {"training_seconds": trained, "seconds_an_image": drawing / GENERATED}
    return {"images": images, "owners": owners, "classes": classes, "values": values}


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("images", "dinov2", "squeezenet", "uvit"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--work", type=Path, default=Path("runs/peers"))
    parser.add_argument("--arms", default=";".join(ARMS), help="names, with ; between them")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    names, splits = read_splits(asked.images, asked.work)
    jobs = [(name, seed) for seed in range(asked.seeds) for name in asked.arms.split(";")]
    if unknown := {name for name, _ in jobs} - set(ARMS):
        raise SystemExit(f"--arms: unknown {', '.join(sorted(unknown))}. Fix: choose among {'; '.join(ARMS)}.")
    _train_all(asked, [job for job in jobs if not _kept(asked, *job).with_suffix(".npz").exists()])
    judge = DermoscopyJudge(len(names), splits, asked.dinov2, asked.squeezenet)
    held_out = judge.judge(splits["test"].first(GENERATED))
    for job in jobs:
        _judge(asked, judge, splits["train"], job)
    values = {f"held_out_{key}": held_out[key] for key in MEASURED}
    medians: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(name for name, _ in jobs):
        found = [json.loads(_kept(asked, name, seed).read_text()) for seed in range(asked.seeds)]
        medians[name] = {key: statistics.median(one[key] for one in found) for key in found[0]}
        values |= {f"{name}: {key}": value for key, value in medians[name].items()}
    ratios = {
        f"{key} of {own} vs {name}": medians[own][key] / medians[name][key]
        for own in OWN
        for name in medians
        for key in ("fd_dinov2", "fd_squeezenet")
        if own in medians and name not in OWN
    }
    report("peers", {"minutes": asked.minutes, "seeds": asked.seeds, "images": GENERATED}, ratios, values)


def _train_all(asked: argparse.Namespace, jobs: Sequence[tuple[str, int]]) -> None:
    """Train arms on all cores, each in a new process, and keep the images of each as it ends."""
    started = multiprocessing.get_context("spawn")
    failed, own = [], sorted(os.sched_getaffinity(0))
    with started.Manager() as shared, ProcessPoolExecutor(len(own), started, max_tasks_per_child=1) as pool:
        cores = shared.Queue()
        for core in own:
            cores.put(core)
        waiting = {pool.submit(_run_on_a_core, cores, asked, *job): job for job in jobs}
        for future in as_completed(waiting):
            job = waiting[future]
            if error := future.exception():
                failed.append(f"{job[0]}, seed {job[1]}: {type(error).__name__}: {error}")
                continue
            made = future.result()
            np.savez(_kept(asked, *job).with_suffix(".npz"), **made)
            write_sheet(_kept(asked, *job).with_suffix(".png"), made["images"])
    if failed:
        raise SystemExit("\n".join(failed))


def _judge(asked: argparse.Namespace, judge: DermoscopyJudge, training: CaptionedSet, job: tuple[str, int]) -> None:
    """Measure the images of an arm, unless that is done."""
    if _kept(asked, *job).exists():
        return
    with np.load(_kept(asked, *job).with_suffix(".npz"), allow_pickle=True) as made:
        judged = judge.judge(training.generated(made["owners"].tolist(), made["images"]))
        measured = [key for key in MEASURED if made["classes"] or key != "label_accuracy"]
        values = {**made["values"].item(), **{key: judged[key] for key in measured}}
    _kept(asked, *job).write_text(json.dumps(values))
    print_values(f"{job[0]}, seed {job[1]}", values)


def _kept(asked: argparse.Namespace, name: str, seed: int) -> Path:
    words = f"{name} {asked.minutes:g} minutes {seed}".replace(",", "").split()
    return Path(asked.work) / f"{'-'.join(words)}.json"


def _run_on_a_core(cores: Any, asked: argparse.Namespace, name: str, seed: int) -> dict[str, Any]:
    core = cores.get()
    try:
        pin(core)
        return run_arm(asked, name, seed)
    finally:
        cores.put(core)


if __name__ == "__main__":
    main()
