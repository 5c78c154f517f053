"""Limits of the CPU's lead over a GPU: synchronisations, calls of operators, and recompilations.

    python -m tests.benchmarks.step_calls [--before WORKTREE] [--compiled-steps 200] [--width 64] [--depth 16] [--list]

Nothing here needs a GPU. Tensors of the device ``meta`` have shapes but no values: where a step needs a value on the
CPU, it would have to wait for a GPU, and is counted. The step is that of ``train_step``, with a PCM.

train_synchronisations     waits in one optimizer step (float32)
engine_synchronisations    waits in one step of the sampling engine that ends no image
finish_synchronisations    waits in its last step, which ends one
train_operator_calls       calls of operators, without views, in one eager step with bfloat16, attention one call each
recompilations             graphs that torch.compile makes in ``--compiled-steps`` steps after the first two
graph_breaks               breaks of these graphs

``operator_calls_vs_before`` is the number of calls divided by that of a checkout of an earlier commit.
"""

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.benchmarks import dispatch_counts
from tests.benchmarks.dispatch_counts import META, Calls, Waits
from tests.benchmarks.table import report
from tests.benchmarks.train_step import (
    CHANNELS,
    CLASSES,
    CONTEXT_WIDTH,
    LONGEST,
    SHORTEST,
    SIDE,
    SPACE,
    config_of,
    rows_of,
)
from vapray.config import Config
from vapray.diffusion.engine import SamplingEngine
from vapray.diffusion.guidance import Guidance
from vapray.diffusion.image_request import ConditioningSpec, ImageRequest
from vapray.models import attention, precision, reconstruction
from vapray.training.batches import Batches
from vapray.training.network import build_network, build_parameterization
from vapray.training.prefetch import Prefetch
from vapray.training.state import TrainingState
from vapray.training.step import OptimizerStep

CPU = torch.device("cpu")


class Run:
    """A training run on a device, in memory."""

    def __init__(self, config: Config, device: torch.device) -> None:
        with device:
            network = build_network(config, num_classes=CLASSES, latent_channels=CHANNELS, context_width=CONTEXT_WIDTH)
        self.state = TrainingState.initial(network, config.train)
        self.state.distribute(config.train, device, rank=0, world=1)
        self._batches = Batches(config, rows_of(SHORTEST, LONGEST), SPACE, rank=0, world=1)
        self._config, self._device = config, device
        self.optimizer = OptimizerStep(config, self.state, device)

    def batch(self) -> Any:
        """Prepare the micro-batches of the next step."""
        settings = self._config.train
        try:
            prefetch = Prefetch(self._batches, settings, max_tokens=256, device=self._device)
        except TypeError:  # before micro-batches were made ahead
            prefetch = Prefetch(self._batches, ahead=0, end=settings.steps, device=self._device)  # type: ignore[call-arg]
        return prefetch.at(self.state.step)

    def step(self, batch: Any) -> None:
        """Take one."""
        self.optimizer.step(batch)
        self.state.step += 1


def fused_attention(query: Tensor, key: Tensor, value: Tensor, num_heads: int, *rest: Tensor | None) -> Tensor:
    """Attention as one call, as on GPUs, on a CPU with gradients."""
    q, k, v = (x.unflatten(2, (num_heads, -1)).transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=rest[0]).transpose(1, 2).flatten(2)


@contextmanager
def on_meta() -> Iterator[None]:
    """A context in which fused optimizers take ``meta``, and autocast, which does not know it, leaves all float32."""
    with (
        patch("torch.optim.optimizer._get_fused_kernels_supported_devices", lambda: ["cpu", "meta"]),
        patch("torch.autocast", lambda *asked, **options: nullcontext()),
    ):
        yield


def train_waits(config: Config) -> int:
    """Waits in a step."""
    with on_meta():
        run = Run(config, META)
        for _ in range(2):
            batch, waits = run.batch(), Waits()
            with waits:
                run.step(batch)
    return waits.count


def engine_waits(config: Config) -> tuple[int, int]:
    """Waits in a step of the engine that ends no image, and in one that does."""
    with META:
        network = build_network(config, num_classes=CLASSES, latent_channels=CHANNELS, context_width=CONTEXT_WIDTH)
    counts = []
    with on_meta():
        engine = SamplingEngine(
            network.eval(),
            build_parameterization(config),
            ConditioningSpec(CLASSES, CONTEXT_WIDTH, 256),
            latent_shape=(CHANNELS, SIDE, SIDE),
            device=META,
        )
        for seed in range(6):
            guidance = Guidance(float(seed % 3))
            context = torch.zeros(60 + seed, CONTEXT_WIDTH)
            engine.submit(ImageRequest(seed, label=seed, context_LD=context, num_inference_steps=5, guidance=guidance))
        while engine.stats().waiting:
            with Waits() as waits:
                ended = [future.result() for future in engine.step()]  # raises if an image failed
            counts.append((bool(ended), waits.count))
    going, last = ([count for ended, count in counts if ended == is_last] for is_last in (False, True))
    return going[-1], last[-1]


def eager_calls(config: Config) -> Counter[str]:
    """Operators of a step with bfloat16."""
    calls = Calls()
    modules = (attention, reconstruction)
    with patch.object(precision, "has_fast_bfloat16", lambda device: True):
        fused = [patch.object(module, "attend", fused_attention) for module in modules]
        for change in fused:
            change.start()
        try:
            run = Run(config, CPU)
            run.step(run.batch())
            batch = run.batch()
            with calls:
                run.step(batch)
        finally:
            for change in fused:
                change.stop()
    return calls.counts


def compiled_graphs(config: Config, steps: int) -> tuple[int, int]:
    """Graphs made after the first two steps, and breaks of graphs."""
    from torch._dynamo.utils import counters

    counters.clear()
    with patch.object(precision, "has_fast_bfloat16", lambda device: True):
        run = Run(config, CPU)
        for _ in range(2):
            run.step(run.batch())
        before = counters["stats"]["unique_graphs"]
        assert before, "nothing was compiled"
        for _ in range(steps):
            run.step(run.batch())
    return counters["stats"]["unique_graphs"] - before, sum(counters["graph_break"].values())


def measure(asked: argparse.Namespace) -> dict[str, float]:
    """All values of this checkout."""
    eager = config_of(asked, "train.precision=bfloat16", "train.prefetch=0")
    going, last = engine_waits(eager)
    calls = eager_calls(eager)
    values: dict[str, float] = {
        "train_synchronisations": train_waits(eager),
        "engine_synchronisations": going,
        "finish_synchronisations": last,
        "train_operator_calls": calls.total(),
    }
    if asked.list:
        for name, count in calls.most_common():
            print(f"{count:5d}  {name}", file=sys.stderr)
    if asked.compiled_steps:
        compiled = config_of(asked, "train.precision=bfloat16", "train.prefetch=0", "train.compile=true")
        values["recompilations"], values["graph_breaks"] = compiled_graphs(compiled, asked.compiled_steps)
    return values


RUN_ELSEWHERE = """
import importlib.util, runpy, sys
script, counts = sys.argv[1:3]
spec = importlib.util.spec_from_file_location("tests.benchmarks.dispatch_counts", counts)
sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
sys.argv[:] = [script, *sys.argv[3:]]
runpy.run_path(script, run_name="__main__")
"""
"""Program that runs this script with another checkout's ``vapray`` and ``tests``, which lack its counts."""


def measure_before(asked: argparse.Namespace) -> dict[str, float]:
    """The values of another checkout, by this script."""
    sizes = [f"--{name}={getattr(asked, name)}" for name in ("width", "depth", "heads", "batch")]
    files = (os.path.abspath(__file__), os.path.abspath(dispatch_counts.__file__))
    command = [sys.executable, "-c", RUN_ELSEWHERE, *files, "--values", "--compiled-steps=0", *sizes]
    environment = {**os.environ, "PYTHONPATH": asked.before}
    done = subprocess.run(command, cwd=asked.before, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    values: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return values


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", help="checkout of an earlier commit")
    parser.add_argument("--compiled-steps", type=int, default=200)
    parser.add_argument("--list", action="store_true", help="list the operators")
    parser.add_argument("--values", action="store_true", help="print the values alone")
    for name, default in {"width": 64, "depth": 16, "heads": 4, "batch": 8}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    values = measure(asked)
    if asked.values:
        print(json.dumps(values))
        return
    ratios = {}
    if asked.before:
        before = measure_before(asked)
        ratios["operator_calls_vs_before"] = values["train_operator_calls"] / before["train_operator_calls"]
        values |= {f"before_{name}": value for name, value in before.items()}
    sizes = {name: getattr(asked, name) for name in ("width", "depth", "heads", "batch", "compiled_steps")}
    report("step_calls", sizes, ratios, values)


if __name__ == "__main__":
    main()
