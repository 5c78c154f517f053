"""Loading of LPIPS weights: the network of a file, and the check that the heads belong to it."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vapray.config.network import Autoencoder as Settings
from vapray.errors import ConfigError
from vapray.latents.perceptual import TAPS, PerceptualDistance
from vapray.latents.trained_files import find_perceptual_files
from vapray.weights_file import read_weights

__all__ = ["open_perceptual"]


def open_perceptual(settings: Settings, device: str = "cpu") -> PerceptualDistance | None:
    """Load the perceptual distance of the settings onto a torch device; None if they have no backbone.

    Raises:
        ConfigError: a missing file, an unknown network, or heads of another network.
        CheckpointError: a file is damaged.
    """
    find_perceptual_files(settings)
    if not settings.lpips_backbone:
        return None
    weights = read_weights("autoencoder.lpips_backbone", settings.lpips_backbone)
    backbone, layers = _network_of(weights, settings.lpips_backbone)
    heads = _heads(settings.lpips_heads, backbone, layers) if settings.lpips_heads else None
    return PerceptualDistance(backbone, layers, heads, settings.lpips_pixels).to(device)


def _network_of(weights: Mapping[str, Tensor], path: str) -> tuple[str, nn.Sequential]:
    """Find the network with the names and shapes of the weights, and load them into it."""
    import torchvision

    features = {name.removeprefix("features."): w for name, w in weights.items() if name.startswith("features.")}
    for name in TAPS:
        with torch.device("meta"):
            layers: nn.Sequential = getattr(torchvision.models, name)(weights=None).features
        if {key: w.shape for key, w in layers.state_dict().items()} == {key: w.shape for key, w in features.items()}:
            layers.load_state_dict({key: w.float() for key, w in features.items()}, assign=True)
            return name, layers
    raise ConfigError(
        f"autoencoder.lpips_backbone = {path}: unknown network; expected weights of torchvision's {', '.join(TAPS)}."
    )


def _heads(path: str, backbone: str, layers: nn.Sequential) -> list[Tensor]:
    weights = read_weights("autoencoder.lpips_heads", path)
    heads = [weights[name].float() for name in sorted(weights) if name.startswith("lin")]
    found, wanted = [head.numel() for head in heads], _tap_widths(backbone, layers)
    if found != wanted:
        raise ConfigError(
            f"autoencoder.lpips_heads = {path}: for layers of {found} channels; autoencoder.lpips_backbone is "
            f"{backbone}, of {wanted}. Fix: give heads and backbone that belong together, or remove the heads."
        )
    return [head.reshape(1, -1, 1, 1) for head in heads]


def _tap_widths(backbone: str, layers: nn.Sequential) -> list[int]:
    values, widths = torch.zeros(1, 3, 64, 64), []
    with torch.no_grad():
        for number, layer in enumerate(layers):
            values = layer(values)
            if number in TAPS[backbone]:
                widths.append(values.shape[1])
    return widths
