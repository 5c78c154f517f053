"""The networks: what they are, not how they are trained."""

from typing import Annotated, Literal

from pydantic import Field

from vapray.config.section import Count, Positive, Section

__all__ = ["Autoencoder", "Diffusion", "Model"]


class Autoencoder(Section):
    """The latent space."""

    kind: Literal["kl", "pixels"] = "kl"
    """kl: a small AutoencoderKL fitted to the run's own training images; pixels: none."""
    channels: Count = 4
    """Of the latents."""
    factor: Literal[2, 4, 8] = 4
    """Image side over latent side."""
    width: Annotated[int, Field(ge=8, multiple_of=8)] = 8
    """Channels of the first level."""
    steps: Count = 1000
    """Optimiser steps."""
    batch_size: Count = 8
    """Images in a step."""
    learning_rate: Positive = 1.5e-3
    """Peak."""


class PrototypeSection(Section):
    """The prototype condition (PCM)."""

    enabled: bool = True
    """False: no prototypes at all."""
    per_class: Count | None = None
    """None: two for each patch token, as in the released configuration."""
    alpha: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the prototypes' reconstruction loss."""
    target: Literal["stop_gradient", "released"] = "stop_gradient"
    """released keeps the authors' gradient on both sides, for comparison."""
    update_every: Count = 1
    """Prototypes move at every k-th step; gradients in between are discarded."""


class Model(Section):
    """The network that predicts noise."""

    network: Literal["uvit", "dit", "unet"] = "uvit"
    """uvit; or a baseline that sees classes alone: dit, or latent diffusion's unet."""
    condition: Literal["caption", "class"] = "caption"
    """What it sees: a caption with its class, or the class alone."""
    patch_size: Count = 2
    """Latent pixels; of uvit and dit."""
    width: Annotated[int, Field(ge=2, multiple_of=2)] = 64
    """Values in a token; of unet: channels of its first resolution."""
    depth: Annotated[int, Field(ge=2, multiple_of=2)] = 4
    """Blocks; of uvit half lie before the middle block, half behind it; of unet residual blocks in a resolution."""
    num_heads: Count = 2
    """Divides width."""
    prototypes: PrototypeSection = PrototypeSection()


class Diffusion(Section):
    """The forward process."""

    schedule: Literal["scaled_linear", "linear"] = "scaled_linear"
    """scaled_linear: Stable Diffusion's betas; linear: 1e-4..0.02, for pixels."""
    steps: Annotated[int, Field(ge=10)] = 1000
    """N."""
