"""Loading of weights into a network, and the check of its device."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vapray.errors import BackendError, ConfigError

__all__ = ["fill_network", "require_device"]


def fill_network(network: nn.Module, weights: Mapping[str, Tensor], where: str, names: str, device: str) -> nn.Module:
    """Load weights into a network, which may be on the meta device, and move it to ``device`` in evaluation mode.

    Args:
        network: Network to fill.
        weights: Weights by name, in any floating-point type.
        where: The setting that gives the weights, and its value, for errors.
        names: The setting that names the network, for errors.
        device: Torch device name.

    Raises:
        ConfigError: weights are missing, unknown or of another shape.
        BackendError: the device is missing.
    """
    wanted = {name: weight.shape for name, weight in network.state_dict().items()}
    found = {name: weight.shape for name, weight in weights.items()}
    if wrong := sorted(name for name in wanted | found if wanted.get(name) != found.get(name)):
        raise ConfigError(
            f"{where}: not the weights of this network: {len(wrong)} are missing, unknown or of another shape "
            f"({', '.join(wrong[:3])}{', ...' if wrong[3:] else ''}). Fix: give the file of the network that "
            f"{names} names."
        )
    require_device(device)
    floats = {name: weight.float() if weight.is_floating_point() else weight for name, weight in weights.items()}
    network.load_state_dict(floats, assign=True)
    return network.eval().requires_grad_(False).to(device)


def require_device(device: str) -> None:
    """Check that a device is on this machine.

    Raises:
        BackendError: the device is missing.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise BackendError(
            f"device {device!r} is not on this machine ({str(error).splitlines()[0]}). Fix: use "
            "the CPU with pools.evaluate.num_gpus=0, or for a teacher pools.encode.num_gpus=0."
        ) from None
