"""What training waits for beside its steps: checkpoints, validation, and the health of prototypes.

    python -m tests.benchmarks.background [--steps 60] [--store-seconds 0.5] [--validation-seconds 0.5]

The demo's network on random rows, one process, one thread. The store and the validation sleep a fixed time: a slow
network, an accelerator that is not full. Both ways take turns: ``waiting`` lets every checkpoint and validation finish
before the next step, as a loop without a second thread does. A stall is the longest step less the median one.
"""

import argparse
import statistics
import time
from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray

from tests.benchmarks.table import report
from vapray.config import Config
from vapray.config.loader import load_config
from vapray.latents.latent_space import LatentSpace
from vapray.models.uvit import UViT
from vapray.training import loop
from vapray.training.async_checkpoint import AsyncCheckpointer
from vapray.training.batches import Batches
from vapray.training.dataset import TrainingRows
from vapray.training.health import measure_prototypes
from vapray.training.network import Network, build_network, build_parameterization
from vapray.training.rank_context import RankContext
from vapray.training.state import TrainingState

CLASSES, ROWS, REPETITIONS = 7, 256, 3


class Waiting(AsyncCheckpointer):
    """Does nothing in the background."""

    def validate(self) -> None:
        """Until it is done."""
        super().validate()
        assert self._validating is not None
        self._validating.result()

    def save(self, *arguments: Any) -> None:
        """Until it is done."""
        super().save(*arguments)
        assert self._saving is not None
        self._saving.result()


def rows_of(config: Config) -> TrainingRows:
    """Random latents and contexts of the demo's shapes."""
    rng, side, channels = np.random.default_rng(0), config.latent_side, config.autoencoder.channels
    lengths = rng.integers(12, 22, ROWS)
    return TrainingRows(
        labels=rng.integers(0, CLASSES, ROWS).astype(np.int32),
        moments=rng.standard_normal((ROWS, 2, 2 * channels, side, side)).astype(np.float16),
        tokens=rng.standard_normal((int(lengths.sum()), config.text_encoder.width)).astype(np.float16),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
    )


def state_of(config: Config) -> TrainingState:
    """Untrained."""
    width, channels = config.text_encoder.width, config.autoencoder.channels
    network = build_network(config, num_classes=CLASSES, latent_channels=channels, context_width=width)
    return TrainingState.initial(network, config.train)


def space_of(config: Config) -> LatentSpace:
    """Latents as they are."""
    channels = config.autoencoder.channels
    return LatentSpace(channels, config.latent_side, (0.0,) * channels, (1.0,) * channels)


def train(
    config: Config, rows: TrainingRows, background: type[AsyncCheckpointer], store: float, validation: float
) -> tuple[NDArray[np.float64], float]:
    """Seconds of every step, and of the whole."""
    ends: list[float] = []

    def checkpoint_requested() -> bool:
        ends.append(time.monotonic())
        return False

    def save(step: int, files: Mapping[str, bytes]) -> None:
        time.sleep(store)

    def validate(network: Network) -> Mapping[str, float]:
        time.sleep(validation)
        return {"validation_distance": 1.0}

    context = RankContext(0, 1, torch.device("cpu"), validate if validation else None)
    vars(context).update(save=save, checkpoint_requested=checkpoint_requested)
    began = time.monotonic()
    with patch.object(loop, "AsyncCheckpointer", background):
        loop.train(context, config, rows, space_of(config), state_of(config))
    return np.diff(ends), time.monotonic() - began


def health_seconds(config: Config, rows: TrainingRows) -> float:
    """Of one point of the curve."""
    state, parameterization = state_of(config), build_parameterization(config)
    batch = Batches(config, rows, space_of(config), rank=0, world=1).at(0)
    seconds, network = [], state.model
    assert isinstance(network, UViT)
    for _ in range(20):
        began = time.perf_counter()
        measure_prototypes(network, parameterization, batch, config.model.prototypes.alpha)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--store-seconds", type=float, default=0.5)
    parser.add_argument("--validation-seconds", type=float, default=0.5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    every = asked.steps // 3
    settings = {"workers": 1, "steps": asked.steps, "checkpoint_every": every, "warmup_steps": 1}
    settings |= {"validate_every": every, "log_every": asked.steps}
    config = load_config(None, [f"train.{name}={value}" for name, value in settings.items()])
    rows, rounds = rows_of(config), []
    for _ in range(REPETITIONS):
        found: dict[str, float] = {}
        for name, background in (("waiting", Waiting), ("background", AsyncCheckpointer)):
            steps, whole = train(config, rows, background, asked.store_seconds, asked.validation_seconds)
            median = float(np.median(steps))
            found |= {f"{name}_stall_seconds": steps.max() - median, f"{name}_step_seconds": median}
            found |= {f"{name}_seconds": whole}
        rounds.append(found)
    values = {name: statistics.median(float(one[name]) for one in rounds) for name in rounds[0]}
    values["health_seconds"] = health_seconds(config, rows)
    every_point = load_config(None, []).train.log_every
    ratios = {
        "stall_vs_waiting": values["background_stall_seconds"] / values["waiting_stall_seconds"],
        "wall_vs_waiting": values["background_seconds"] / values["waiting_seconds"],
        "health_share": values["health_seconds"] / (every_point * values["background_step_seconds"]),
    }
    shapes = {"batch": config.train.batch_size, "checkpoints": 3, "device": "cpu", "threads": 1}
    report("background", vars(asked) | shapes | {"repetitions": REPETITIONS}, ratios, values)


if __name__ == "__main__":
    main()
