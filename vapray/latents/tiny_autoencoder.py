"""TAEF2: a tiny distilled autoencoder for FLUX.2's latents (github.com/madebyollin/taesd, MIT).

The encoder halves the image three times by strided convolutions, with residual blocks of three convolutions at each
side; the decoder mirrors it. The network is built from the names and shapes in the weights files. Its images are in
0..1, and its latents have no variance.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from vapray.errors import CheckpointError
from vapray.latents.file_names import CONFIG_FILE, DECODER_FILE, ENCODER_FILE, WEIGHTS_FILE
from vapray.latents.network_autoencoder import NO_VARIANCE, NetworkAutoencoder

__all__ = ["TinyAutoencoder"]

HALVINGS = 3
NORMED_WIDENING, GROUPS = 4, 4
LATENT_BOUND = 3.0


class _Block(nn.Module):
    """Residual block; at the coarsest side a normed branch of 1 x 1 convolutions precedes it."""

    def __init__(self, width: int, normed: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [_convolution(width, width)]
        for _ in range(2):
            layers += [nn.ReLU(), _convolution(width, width)]
        self.conv = nn.Sequential(*layers)
        wide = NORMED_WIDENING * width
        self.pool = nn.Sequential(
            nn.Conv2d(width, wide, 1, bias=False),
            nn.GroupNorm(GROUPS, wide),
            nn.ReLU(),
            nn.Conv2d(wide, width, 1, bias=False),
        ) if normed else None  # fmt: skip

    def forward(self, values_BCHW: Tensor) -> Tensor:
        if self.pool is not None:
            values_BCHW = values_BCHW + self.pool(values_BCHW)
        return functional.relu(self.conv(values_BCHW) + values_BCHW)


class _Bound(nn.Module):
    """Smooth bound of latents to -3..3."""

    def forward(self, latents_BCHW: Tensor) -> Tensor:
        return torch.tanh(latents_BCHW / LATENT_BOUND) * LATENT_BOUND


def _convolution(inputs: int, outputs: int, **more: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, **more)


def _build_encoder(channels: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = [_convolution(3, width), _Block(width, False)]
    for halving in range(HALVINGS):
        coarsest = halving == HALVINGS - 1
        layers += [_convolution(width, width, stride=2, bias=False), *(_Block(width, coarsest) for _ in range(3))]
    return nn.Sequential(*layers, _convolution(width, channels))


def _build_decoder(channels: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = [_Bound(), _convolution(channels, width), nn.ReLU()]
    for doubling in range(HALVINGS):
        layers += [_Block(width, doubling == 0) for _ in range(3)]
        layers += [nn.Upsample(scale_factor=2), _convolution(width, width, bias=False)]
    return nn.Sequential(*layers, _Block(width, False), _convolution(width, 3))


class TinyAutoencoder(NetworkAutoencoder):
    """Encoder and decoder of TAEF2, or of another width or number of channels."""

    def __init__(self, channels: int = 32, width: int = 64) -> None:
        """Build with random weights; see ``from_pair`` and ``load``."""
        halves = {"encoder": _build_encoder(channels, width), "decoder": _build_decoder(channels, width)}
        self.network = nn.ModuleDict(halves).eval().requires_grad_(False)
        self._channels, self._width = channels, width

    @property
    def factor(self) -> int:
        """Image side divided by latent side."""
        return int(2**HALVINGS)

    @property
    def channels(self) -> int:
        """C, the number of channels of a latent."""
        return self._channels

    @property
    def published_scaling(self) -> None:
        """None, since no scaling is published."""
        return None

    @property
    def decoder(self) -> list[nn.Module]:
        """Modules that only decoding uses."""
        return [self.network["decoder"]]

    def moments(self, pictures_B3HW: Tensor) -> Tensor:
        """Encode images in -1..1 to float32 [B, 2C, h, w], with the log-variance of no variance."""
        mean = self.network["encoder"]((pictures_B3HW + 1) / 2)
        return torch.cat([mean, torch.full_like(mean, NO_VARIANCE)], dim=1)

    def rebuild(self, latents_BCHW: Tensor) -> Tensor:
        """Decode raw latents to images [B, 3, H, W] in about -1..1; gradients pass."""
        rebuilt: Tensor = self.network["decoder"](latents_BCHW.to(next(self.network.parameters()).dtype))
        return 2 * rebuilt - 1

    def save(self, folder: str | Path) -> None:
        """Write config.json and diffusion_pytorch_model.safetensors."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        config = {"_class_name": "TinyAutoencoder", "latent_channels": self._channels, "width": self._width}
        (Path(folder) / CONFIG_FILE).write_text(json.dumps(config) + "\n")
        save_file(self.network.state_dict(), Path(folder) / WEIGHTS_FILE)

    @classmethod
    def load(cls, folder: str | Path) -> "TinyAutoencoder":
        """Read the files of ``save``.

        Raises:
            CheckpointError: a file is missing or damaged.
        """
        try:
            config = json.loads((Path(folder) / CONFIG_FILE).read_text())
            autoencoder = cls(int(config["latent_channels"]), int(config["width"]))
            weights = load_file(Path(folder) / WEIGHTS_FILE)
        except Exception as error:  # safetensors raises its own exception type
            raise CheckpointError(f"{folder}: not a readable TinyAutoencoder: {error}") from error
        _fill(autoencoder.network, weights, str(folder))
        return autoencoder

    @classmethod
    def from_pair(cls, folder: str | Path) -> "TinyAutoencoder":
        """Read the distributed files taef2_encoder.pth and taef2_decoder.pth, as float32.

        Raises:
            CheckpointError: a file is missing or damaged, or has other weights.
        """
        pair = {half: Path(folder) / name for half, name in (("encoder", ENCODER_FILE), ("decoder", DECODER_FILE))}
        weights = {half: _read(path) for half, path in pair.items()}
        first = weights["decoder"].get("1.weight")
        if first is None or first.ndim != 4:
            raise CheckpointError(f"{pair['decoder']}: not the decoder of TAEF2: no 1.weight of four axes")
        autoencoder = cls(first.shape[1], first.shape[0])
        for half, path in pair.items():
            _fill(autoencoder.network[half], weights[half], str(path))
        return autoencoder


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        weights = torch.load(path, weights_only=True, map_location="cpu")
        return {str(name): weight.float() for name, weight in weights.items()}
    except Exception as error:  # damaged zip archives and pickles raise errors of many types
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0][:200]
        raise CheckpointError(f"{path}: cannot be read as weights ({reason})") from error


def _fill(network: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    wanted = {name: weight.shape for name, weight in network.state_dict().items()}
    found = {name: weight.shape for name, weight in weights.items()}
    if wrong := sorted(name for name in wanted | found if wanted.get(name) != found.get(name)):
        what = f"{len(wrong)} weights missing, unknown or of another shape ({', '.join(wrong[:3])}, ...)"
        raise CheckpointError(f"{where}: not the weights of TAEF2: {what}")
    if not all(weight.isfinite().all() for weight in weights.values()):
        raise CheckpointError(f"{where}: contains weights that are not finite numbers")
    network.load_state_dict(dict(weights))
