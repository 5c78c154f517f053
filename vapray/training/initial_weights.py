"""Initial weights from a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from vapray.errors import CheckpointError
from vapray.models.released_weights import is_released, renamed
from vapray.training.network import Network

__all__ = ["start_from"]

LEAST_SHARE = 0.5
EMPTY_CONTEXT = "text.empty_context"
"""Buffer that the run's text encoder fills, whatever the weights contain."""


def start_from(network: Network, path: str) -> str:
    """Load the weights of a file that match a network by name and shape; the others keep their values.

    Args:
        network: network on the CPU.
        path: ``.safetensors``, or a pickled state dict (``.pth``, ``.pt``); with vapray's names or the released ones.

    Returns:
        Summary of loaded and unmatched weights, for the log.

    Raises:
        CheckpointError: a missing or damaged file, or matches for fewer than half of the network's values.
    """
    found = _read(path)
    wanted = network.state_dict()
    fitting = {name: found[name] for name, weight in wanted.items() if _fits(weight, found.get(name))}
    share = sum(weight.numel() for weight in fitting.values()) / sum(weight.numel() for weight in wanted.values())
    left = [name for name in wanted if name not in fitting and name != EMPTY_CONTEXT]
    if share < LEAST_SHARE:
        raise CheckpointError(
            f"train.init_from = {path}: fits {share:.0%} of the network's values; expected at least {LEAST_SHARE:.0%}. "
            f"Missing or of another shape: {', '.join(left[:3])}, ... Fix: set model.* as in their training."
        )
    network.load_state_dict({**wanted, **fitting})
    rest = f"; as drawn: {', '.join(left[:5])}{', ...' if left[5:] else ''}" if left else ""
    return f"started from {path}: {share:.1%} of the network's values{rest}"


def _fits(weight: Tensor, found: Tensor | None) -> bool:
    return found is not None and found.shape == weight.shape


def _unpickled(path: str) -> Any:
    return torch.load(path, weights_only=True, map_location="cpu")


def _read(path: str) -> Mapping[str, Tensor]:
    if not Path(path).is_file():
        raise CheckpointError(
            f"train.init_from = {path}: no such file on this node. Fix: give one that every worker can read."
        )
    try:
        weights: Any = load_file(path) if path.endswith(".safetensors") else _unpickled(path)
        if not all(isinstance(weight, Tensor) for weight in weights.values()):
            raise ValueError("contains no weights by name; expected a bare state dict")
        return renamed(weights) if is_released(weights) else weights
    except Exception as error:  # damaged files raise errors of many types
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise CheckpointError(f"train.init_from = {path}: cannot be read as weights ({reason}).") from error
