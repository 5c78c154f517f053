"""Training state between two steps, and its serialization."""

import copy
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pickle import UnpicklingError
from typing import Any, Self

import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from vapray.config import Train
from vapray.errors import CheckpointError, TrainingDivergedError
from vapray.training.network import Network
from vapray.training.optimizer import Optimizer, make_optimizer
from vapray.training.parallelism import DDPStrategy, ParallelStrategy

__all__ = ["Snapshot", "TrainingState", "load_weights", "save_weights"]

_CARD = ("step", "curve", "validations", "skipped", "skipped_in_a_row")


@dataclass(frozen=True)
class Snapshot:
    """Copy of a training state on the CPU, independent of further steps; on ranks other than 0 it has the card only.

    Attributes:
        raw: weights of the last step.
        ema: moving average of the weights.
        optimizer: the optimizer's ``state_dict``.
        card: contents of ``state.json`` without validations.
    """

    raw: dict[str, Tensor]
    ema: dict[str, Tensor]
    optimizer: dict[str, Any]
    card: dict[str, Any]

    @property
    def step(self) -> int:
        """Number of optimizer steps taken."""
        return int(self.card["step"])


@dataclass
class TrainingState:
    """Training state after ``step`` optimizer steps.

    Attributes:
        model: network with the weights of the last step.
        ema: network with the moving average (EMA) of the weights.
        optimizer: optimizer with its moments.
        sharding: distribution of these over ranks.
        step: number of optimizer steps, skipped ones included.
        curve: points of the learning curve.
        validations: (step, distance) of every validation; lower is better.
        best: EMA weights at the lowest distance, as safetensors; empty before the first validation.
        pending: step and EMA weights of a validation that was in progress when the run ended.
        skipped: number of steps with a non-finite gradient.
        skipped_in_a_row: number of steps skipped since the last step taken.
    """

    model: Network
    ema: Network
    optimizer: Optimizer
    sharding: ParallelStrategy
    step: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    validations: list[tuple[int, float]] = field(default_factory=list)
    best: bytes = b""
    pending: tuple[int, bytes] | None = None
    skipped: int = 0
    skipped_in_a_row: int = 0

    @classmethod
    def initial(cls, model: Network, settings: Train) -> Self:
        """Build the state before the first step: the average equals the weights."""
        ema = copy.deepcopy(model).requires_grad_(False).eval()
        return cls(model, ema, make_optimizer(model, settings), DDPStrategy(model))

    def distribute(self, settings: Train, device: torch.device, rank: int, world: int) -> None:
        """Distribute a complete state over the devices of ``world`` ranks; above 1 a torch process group must exist."""
        optimizer = self.optimizer.state_dict()
        if world > 1 and settings.sharding == "fsdp":
            from vapray.training.fsdp import FSDPStrategy

            self.sharding = shards = FSDPStrategy(self.model, self.ema, device)
            self.optimizer, optimizer = make_optimizer(self.model, settings), shards.shard_optimizer_state(optimizer)
        else:
            self.ema.to(device)
            self.sharding = DDPStrategy(self.model.to(device), rank, world)
        self.optimizer.load_state_dict(optimizer)

    def record_validation(self, step: int, ema: Network, distance: float) -> None:
        """Record a validation of the EMA weights of a step, and keep them if their distance is the lowest."""
        if all(distance < earlier for _, earlier in self.validations):
            self.best = save_weights(ema)
        self.validations.append((step, distance))

    def refuse_non_finite(self) -> None:
        """Raise ``TrainingDivergedError`` if a weight is not finite."""
        names, weights = zip(*self.model.named_parameters(), *self.ema.named_parameters(), strict=True)
        for name, broken in zip(names, self.sharding.find_nonfinite(weights), strict=True):
            if broken:
                raise TrainingDivergedError(
                    f"training: {name} is not finite after step {self.step}; nothing was saved."
                )

    def snapshot(self) -> Snapshot:
        """Copy the state for writing while further steps run.

        Raises:
            TrainingDivergedError: a weight is not finite; such a state is never saved.
        """
        self.refuse_non_finite()
        card = {name: getattr(self, name) for name in _CARD if name != "validations"}
        return Snapshot(
            self.sharding.full_state_dict(self.model.state_dict()),
            self.sharding.full_state_dict(self.ema.state_dict()),
            self.sharding.full_state_dict(self.optimizer.state_dict()),
            {**card, "curve": list(self.curve)},
        )

    def to_files(self, snapshot: Snapshot | None = None) -> dict[str, bytes]:
        """Serialize a snapshot or the current state, with the validations, to file name -> content.

        Raises:
            TrainingDivergedError: a weight is not finite.
        """
        snapshot = snapshot or self.snapshot()
        optimizer = io.BytesIO()
        torch.save(snapshot.optimizer, optimizer)
        card = {**snapshot.card, "validations": self.validations}
        files = {
            "raw.safetensors": save_safetensors(snapshot.raw),
            "ema.safetensors": save_safetensors(snapshot.ema),
            "optimiser.pt": optimizer.getvalue(),
        }
        if self.best:
            files["best.safetensors"] = self.best
        if self.pending is not None:
            card["pending"], files["pending.safetensors"] = self.pending
        return files | {"state.json": json.dumps(card).encode()}

    def restore(self, files: Mapping[str, bytes]) -> None:
        """Restore the state from the files of :meth:`to_files`.

        Raises:
            CheckpointError: a file is missing, or belongs to another architecture.
        """
        try:
            load_weights(self.model, files["raw.safetensors"])
            load_weights(self.ema, files["ema.safetensors"])
            self.optimizer.load_state_dict(torch.load(io.BytesIO(files["optimiser.pt"]), weights_only=True))
            card: dict[str, Any] = json.loads(files["state.json"])
            for name in _CARD:
                setattr(self, name, card[name])
            self.pending = (card["pending"], files["pending.safetensors"]) if "pending" in card else None
        except (KeyError, ValueError, UnpicklingError) as error:
            raise CheckpointError(f"training state cannot be restored: {error}") from error
        self.validations = [(step, distance) for step, distance in self.validations]
        self.best = files.get("best.safetensors", b"")


def save_weights(model: nn.Module) -> bytes:
    """Serialize all weights as one safetensors file."""
    return save_safetensors({name: weight.detach().cpu().contiguous() for name, weight in model.state_dict().items()})


def load_weights(model: nn.Module, data: bytes) -> None:
    """Load the weights of a safetensors file into a model.

    Raises:
        CheckpointError: a damaged file or another architecture; the message lists the differences.
    """
    try:
        weights = load_safetensors(data)
    except Exception as error:
        raise CheckpointError(f"weights: not a readable safetensors file ({error}).") from error
    problems = list(_differences(model.state_dict(), weights))
    if problems:
        raise CheckpointError("weights of another architecture: " + "; ".join(problems[:5]))
    model.load_state_dict(weights)


def _differences(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    missing = [f"{name} is missing" for name in wanted.keys() - found.keys()]
    extra = [f"{name} is not known" for name in found.keys() - wanted.keys()]
    shapes = [
        f"{name} is {tuple(found[name].shape)}, expected {tuple(wanted[name].shape)}"
        for name in wanted.keys() & found.keys()
        if found[name].shape != wanted[name].shape
    ]
    return sorted(missing) + sorted(extra) + sorted(shapes)
