"""Weights that training starts from, instead of random ones."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from vapray.errors import CheckpointError
from vapray.models.released_weights import is_released, renamed
from vapray.training.network import Network

__all__ = ["start_from"]

LEAST_SHARE = 0.5


def start_from(network: Network, path: str) -> str:
    """Put those weights of a file into a network that fit it by name and shape; the others stay as they are.

    Args:
        network: on the CPU.
        path: ``.safetensors`` of a vapray checkpoint, or a state dict of the released code (``.pth``, ``.pt``).

    Returns:
        What was taken and what was not, for people.

    Raises:
        CheckpointError: no such file, damaged, or weights of which fewer than half of the network's values fit.
    """
    found = _read(path)
    wanted = network.state_dict()
    fitting = {name: found[name] for name, weight in wanted.items() if _fits(weight, found.get(name))}
    share = sum(weight.numel() for weight in fitting.values()) / sum(weight.numel() for weight in wanted.values())
    left = [name for name in wanted if name not in fitting]
    if share < LEAST_SHARE:
        raise CheckpointError(
            f"train.init_from = {path}: fits {share:.0%} of the network's values; wanted at least {LEAST_SHARE:.0%}. "
            f"Not there, or of another shape: {', '.join(left[:3])}, ... Set model.* as those weights were trained."
        )
    network.load_state_dict({**wanted, **fitting})
    rest = f"; as drawn: {', '.join(left[:5])}{', ...' if left[5:] else ''}" if left else ""
    return f"started from {path}: {share:.1%} of the network's values{rest}"


def _fits(weight: Tensor, found: Tensor | None) -> bool:
    return found is not None and found.shape == weight.shape


def _read(path: str) -> Mapping[str, Tensor]:
    if not Path(path).is_file():
        raise CheckpointError(
            f"train.init_from = {path}: no such file on this node. Give one that every worker can read."
        )
    try:
        if path.endswith(".safetensors"):
            return load_file(path)
        weights: dict[str, Tensor] = torch.load(path, weights_only=True, map_location="cpu")
        return renamed(weights) if is_released(weights) else weights
    except Exception as error:  # damaged files raise whatever they like
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise CheckpointError(f"train.init_from = {path}: cannot be read as weights ({reason}).") from error
