"""Sizes in the config.json of an ``AutoencoderKL``, read without torch or diffusers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from vapray.config.network import Autoencoder as Settings
from vapray.errors import ConfigError
from vapray.model_files import read_card

__all__ = ["STABLE_DIFFUSION", "KlShape"]


@dataclass(frozen=True)
class KlShape:
    """Sizes of an ``AutoencoderKL``.

    Attributes:
        channels: number of channels C of the latent.
        widths: number of channels of each level, the finest first.
        layers: number of residual blocks per level of the encoder; the decoder has one more.
        attention: True if the coarsest level has self-attention.
    """

    channels: int
    widths: tuple[int, ...]
    layers: int
    attention: bool

    @property
    def factor(self) -> int:
        """Image side divided by latent side."""
        return int(2 ** (len(self.widths) - 1))

    @classmethod
    def of(cls, config_file: Path) -> Self:
        """Read a config.json.

        Raises:
            ConfigError: not JSON, or the config of another class.
        """
        config = read_card(config_file)
        if config.get("_class_name") != "AutoencoderKL":
            found = config.get("_class_name")
            raise ConfigError(
                f"{config_file}: _class_name is {found!r}, expected 'AutoencoderKL'. Fix: set autoencoder.model to a "
                "diffusers AutoencoderKL, or to a pipeline that has one in its folder vae."
            )
        try:
            return cls(
                int(config.get("latent_channels", 4)),
                tuple(int(width) for width in config.get("block_out_channels", (64,))),
                int(config.get("layers_per_block", 1)),
                bool(config.get("mid_block_add_attention", True)),
            )
        except (TypeError, ValueError):
            raise ConfigError(f"{config_file}: its sizes are not numbers. Fix: copy it again.") from None

    def require(self, settings: Settings) -> None:
        """Refuse settings of another latent space.

        Raises:
            ConfigError: other channels or factor; the message has the values to set.
        """
        if (self.channels, self.factor) != (settings.channels, settings.factor):
            raise ConfigError(
                f"autoencoder.model = {settings.model}: has {self.channels} channels and factor {self.factor}; "
                f"autoencoder.channels = {settings.channels} and autoencoder.factor = {settings.factor}. Fix: set "
                f"autoencoder.channels={self.channels} autoencoder.factor={self.factor}."
            )


STABLE_DIFFUSION = KlShape(4, (128, 256, 512, 512), 2, True)
