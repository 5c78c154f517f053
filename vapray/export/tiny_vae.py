"""TAEF2 as a component of a diffusers pipeline, which has no class of its own for it."""

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config

from vapray.latents.tiny_autoencoder import TinyAutoencoder

__all__ = ["VapTinyVae"]


class VapTinyVae(ModelMixin, ConfigMixin):
    """Encoder and decoder of a :class:`TinyAutoencoder`.

    Args:
        latent_channels: C.
        width: channels of its layers.
    """

    @register_to_config
    def __init__(self, latent_channels: int, width: int) -> None:
        super().__init__()
        self.autoencoder = TinyAutoencoder(latent_channels, width)
        self.network = self.autoencoder.network
