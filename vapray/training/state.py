"""Everything that a training run is between two steps, to bytes and back."""

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
from vapray.errors import CheckpointError, TrainingDiverged
from vapray.training.network import Network
from vapray.training.optimiser import make_optimiser

__all__ = ["TrainingState", "load_weights", "save_weights"]

_CARD = ("step", "curve", "validations", "skipped", "skipped_in_a_row")


@dataclass
class TrainingState:
    """The state after ``step`` optimiser steps.

    Attributes:
        model: weights of the last step.
        averaged: their moving average.
        optimiser: AdamW with its moments.
        step: optimiser steps, skipped ones included.
        curve: points of the learning curve.
        validations: (step, distance) of every validation; lower is better.
        best: averaged weights at the lowest distance, as safetensors; empty before the first validation.
        skipped: steps whose gradient was not finite.
        skipped_in_a_row: those since the last step that was taken.
    """

    model: Network
    averaged: Network
    optimiser: torch.optim.AdamW
    step: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    validations: list[tuple[int, float]] = field(default_factory=list)
    best: bytes = b""
    skipped: int = 0
    skipped_in_a_row: int = 0

    @classmethod
    def begin(cls, model: Network, settings: Train) -> Self:
        """Before the first step: the average equals the weights."""
        averaged = copy.deepcopy(model).requires_grad_(False).eval()
        return cls(model, averaged, make_optimiser(model, settings))

    def to(self, device: torch.device) -> None:
        """Move the weights; before the first step, since the optimiser keeps its state where the weights are."""
        self.model.to(device)
        self.averaged.to(device)

    def consider(self, distance: float) -> None:
        """Note a validation, and keep the averaged weights if none before came as near."""
        if all(distance < earlier for _, earlier in self.validations):
            self.best = save_weights(self.averaged)
        self.validations.append((self.step, distance))

    def refuse_non_finite(self) -> None:
        """Raise ``TrainingDiverged`` if a weight is not finite."""
        for name, weight in [*self.model.named_parameters(), *self.averaged.named_parameters()]:
            if not weight.isfinite().all():
                raise TrainingDiverged(f"training: {name} is not finite after step {self.step}; nothing was saved.")

    def to_files(self) -> dict[str, bytes]:
        """File name -> content.

        Raises:
            TrainingDiverged: a weight is not finite; such a state is never saved.
        """
        self.refuse_non_finite()
        optimiser = io.BytesIO()
        torch.save(self.optimiser.state_dict(), optimiser)
        files = {
            "raw.safetensors": save_weights(self.model),
            "ema.safetensors": save_weights(self.averaged),
            "optimiser.pt": optimiser.getvalue(),
            "state.json": json.dumps({name: getattr(self, name) for name in _CARD}).encode(),
        }
        return files | ({"best.safetensors": self.best} if self.best else {})

    def restore(self, files: Mapping[str, bytes]) -> None:
        """Go back to what :meth:`to_files` gave.

        Raises:
            CheckpointError: a file is missing, or belongs to another architecture.
        """
        try:
            load_weights(self.model, files["raw.safetensors"])
            load_weights(self.averaged, files["ema.safetensors"])
            self.optimiser.load_state_dict(torch.load(io.BytesIO(files["optimiser.pt"]), weights_only=True))
            card: dict[str, Any] = json.loads(files["state.json"])
            for name in _CARD:
                setattr(self, name, card[name])
        except (KeyError, ValueError, UnpicklingError) as error:
            raise CheckpointError(f"training state cannot be restored: {error}") from error
        self.validations = [(step, distance) for step, distance in self.validations]
        self.best = files.get("best.safetensors", b"")


def save_weights(model: nn.Module) -> bytes:
    """All weights as one safetensors file."""
    return save_safetensors({name: weight.detach().cpu().contiguous() for name, weight in model.state_dict().items()})


def load_weights(model: nn.Module, data: bytes) -> None:
    """Put weights from a safetensors file into a model.

    Raises:
        CheckpointError: damaged, or another architecture; names what differs.
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
        f"{name} is {tuple(found[name].shape)}, wanted {tuple(wanted[name].shape)}"
        for name in wanted.keys() & found.keys()
        if found[name].shape != wanted[name].shape
    ]
    return sorted(missing) + sorted(extra) + sorted(shapes)
