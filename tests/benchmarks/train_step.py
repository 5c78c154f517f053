"""Samples a second of one optimizer step, beside the authors' released code.

    python -m tests.benchmarks.train_step [--reference PATH] [--batch 8] [--repetitions 5] [--device cuda]

U-ViT with PCM, latents 4x32x32 in patches of 2, captions of 60 to 120 tokens of 768 values. A step is batch, forward,
backward, clipping, AdamW and average of weights, on arrays in memory. The ways take turns, and medians are taken.

ours       train.precision=bfloat16, gradients in ``--accumulate`` micro-batches by length of caption
float32    the same in float32, which is the default
equal      as ours, with captions of 256 tokens
released   the authors' code with --reference, as their script runs it: every caption padded to 256 tokens, no clipping;
           float32 on a CPU, float16 autocast on a GPU

``vs_reference`` is ours over released, ``vs_reference_equal_tokens`` equal over released; both again for float32. On a
GPU ``mfu`` counts three forward passes of every real token against the measured rate of large bfloat16 products.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tests.benchmarks.released import TEXT_TOKENS, ReleasedTraining
from tests.benchmarks.table import report
from vapray.config import Config
from vapray.config.loader import load_config
from vapray.latents.latent_space import LatentSpace
from vapray.models.flop_counter import count_flops
from vapray.training.batches import Batches
from vapray.training.dataset import TrainingRows
from vapray.training.network import build_network
from vapray.training.prefetch import Prefetch
from vapray.training.state import TrainingState
from vapray.training.step import OptimizerStep

CLASSES, SIDE, CHANNELS, CONTEXT_WIDTH, SHORTEST, LONGEST, ROWS = 7, 32, 4, 768, 60, 120, 128
SPACE = LatentSpace(CHANNELS, SIDE, (0.0,) * CHANNELS, (1.0,) * CHANNELS)


def config_of(asked: argparse.Namespace, *changes: str) -> Config:
    """At the released configuration but for what is asked for."""
    return load_config(
        None,
        [
            "data.image_size=256",
            "autoencoder.factor=8",
            "text_encoder.max_tokens=256",
            f"model.width={asked.width}",
            f"model.depth={asked.depth}",
            f"model.num_heads={asked.heads}",
            "train.workers=1",
            "train.steps=1000000",
            f"train.batch_size={asked.batch}",
            *changes,
        ],
    )


def rows_of(shortest: int, longest: int) -> TrainingRows:
    """Drawn; captions of so many tokens."""
    draw = np.random.default_rng(0)
    lengths = draw.integers(shortest, longest + 1, ROWS)
    return TrainingRows(
        labels=draw.integers(0, CLASSES, ROWS).astype(np.int32),
        moments=draw.standard_normal((ROWS, 2, 2 * CHANNELS, SIDE, SIDE)).astype(np.float16),
        tokens=draw.standard_normal((int(lengths.sum()), CONTEXT_WIDTH)).astype(np.float16),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    )


@dataclass
class Ours:
    """A training run, step by step."""

    state: TrainingState
    batches: Prefetch
    optimizer: OptimizerStep

    @classmethod
    def of(cls, config: Config, rows: TrainingRows, device: torch.device) -> "Ours":
        """Before its first step."""
        network = build_network(config, num_classes=CLASSES, latent_channels=CHANNELS, context_width=CONTEXT_WIDTH)
        state = TrainingState.initial(network, config.train)
        state.distribute(config.train, device, rank=0, world=1)
        batches = Batches(config, rows, SPACE, rank=0, world=1)
        most = config.text_encoder.max_tokens
        ahead = Prefetch(batches, config.train, max_tokens=most, device=device)
        return cls(state, ahead, OptimizerStep(config, state, device))

    def step(self) -> None:
        """Take one."""
        self.optimizer.step(self.batches.at(self.state.step))
        self.state.step += 1


def released(asked: argparse.Namespace, device: torch.device) -> Callable[[], None]:
    """Their step on a drawn batch."""
    sizes = {"side": SIDE, "channels": CHANNELS, "classes": CLASSES}
    model = ReleasedTraining(asked.reference, device, **sizes, width=asked.width, depth=asked.depth, heads=asked.heads)

    def step() -> None:
        noisy, noise = (torch.randn(asked.batch, CHANNELS, SIDE, SIDE) for _ in range(2))
        context = torch.randn(asked.batch, TEXT_TOKENS, CONTEXT_WIDTH)
        steps, label = torch.randint(1, 1001, (asked.batch,)), torch.randint(0, CLASSES, (asked.batch,))
        model.step(*(tensor.to(device) for tensor in (noisy, noise, steps, context, label)))

    return step


def seconds_of(step: Callable[[], object], device: torch.device, count: int) -> float:
    """Of one step, the mean of some."""
    began = time.perf_counter()
    for _ in range(count):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - began) / count


def product_rate(device: torch.device, side: int = 8192, kind: torch.dtype = torch.bfloat16) -> float:
    """Operations a second of a large product."""
    one, other = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    seconds_of(lambda: one @ other, device, 3)
    return 2 * side**3 / seconds_of(lambda: one @ other, device, 20)


def step_flops(asked: argparse.Namespace) -> float:
    """Three forward passes for every image, without what is padded."""
    network = build_network(
        config_of(asked), num_classes=CLASSES, latent_channels=CHANNELS, context_width=CONTEXT_WIDTH
    )
    tokens = (SHORTEST + LONGEST) // 2
    return 3.0 * asked.batch * count_flops(network, (CHANNELS, SIDE, SIDE), tokens, CONTEXT_WIDTH)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", help="checkout of the released code")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true")
    sizes = {"threads": 1, "width": 256, "depth": 8, "heads": 4, "batch": 8, "accumulate": 1}
    for name, default in {**sizes, "repetitions": 5, "steps": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    device = torch.device(asked.device)
    half = ("train.precision=bfloat16", f"train.gradient_accumulation_steps={asked.accumulate}")
    half += ("train.compile=true",) * asked.compile
    short, long = rows_of(SHORTEST, LONGEST), rows_of(TEXT_TOKENS, TEXT_TOKENS)
    runs = {
        "ours": Ours.of(config_of(asked, *half), short, device),
        "float32": Ours.of(config_of(asked, half[1]), short, device),
        "equal": Ours.of(config_of(asked, *half), long, device),
        "float32_equal": Ours.of(config_of(asked), long, device),
    }
    ways: dict[str, Callable[[], None]] = {name: run.step for name, run in runs.items()}
    if asked.reference:
        ways["released"] = released(asked, device)
    for step in ways.values():
        seconds_of(step, device, 2)  # warms up
    waited, measured = runs["ours"].batches.wait_seconds, 0.0
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(asked.repetitions):
        for name, step in ways.items():
            seconds[name].append(seconds_of(step, device, asked.steps))
    measured = sum(seconds["ours"]) * asked.steps
    took = {name: statistics.median(values) for name, values in seconds.items()}
    ratios: dict[str, float] = {"bfloat16_vs_float32": took["float32"] / took["ours"]}
    if asked.reference:
        ratios |= {
            "vs_reference": took["released"] / took["ours"],
            "vs_reference_equal_tokens": took["released"] / took["equal"],
            "float32_vs_reference": took["released"] / took["float32"],
            "float32_vs_reference_equal_tokens": took["released"] / took["float32_equal"],
        }
    values: dict[str, Any] = {
        "samples_per_second": asked.batch / took["ours"],
        "data_wait_share": (runs["ours"].batches.wait_seconds - waited) / measured,
        **{f"{name}_samples_per_second": asked.batch / value for name, value in took.items() if name != "ours"},
    }
    if device.type == "cuda":
        values["mfu"] = step_flops(asked) / took["ours"] / product_rate(device)
    config = {key: value for key, value in vars(asked).items() if key != "reference"}
    report("train_step", config | {"latent": "4x32x32", "caption_tokens": f"{SHORTEST}-{LONGEST}"}, ratios, values)


if __name__ == "__main__":
    main()
