"""The networks: what they are, not how they are trained."""

from typing import Annotated, Literal

from pydantic import Field

from vapray.config.section import Count, Natural, Positive, Section

__all__ = ["Autoencoder", "Diffusion", "Model"]


class Autoencoder(Section):
    """The latent space."""

    kind: Literal["kl", "diffusers", "taef2", "pixels"] = "kl"
    """kl: a small AutoencoderKL fitted to the run's own training images; diffusers: a trained AutoencoderKL, such as
    Stable Diffusion's; taef2: a trained tiny one; pixels: none."""
    model: str | None = None
    """For diffusers a directory (of the model, or of a pipeline with a folder vae) or hf-hub:OWNER/NAME; for taef2 the
    directory of taef2_encoder.pth and taef2_decoder.pth."""
    revision: str | None = None
    """Of the hub's: commit, tag or branch."""
    channels: Count = 4
    """Of the latents; a trained model's own."""
    factor: Literal[2, 4, 8] = 4
    """Image side over latent side; a trained model's own."""
    width: Annotated[int, Field(ge=8, multiple_of=8)] = 8
    """Of kl: channels of the first level."""
    steps: Count = 1000
    """Of kl: optimiser steps."""
    batch_size: Count = 8
    """Images in a step of fitting or tuning."""
    learning_rate: Positive = 1.5e-3
    """Of kl: peak."""
    tune_decoder_steps: Natural = 0
    """f_D is tuned on the training images for so many steps of L1 + LPIPS, f_E stays as it is. 0: it is not."""
    tune_learning_rate: Positive = 1e-4
    """Of the tuning: peak."""
    lpips_backbone: str | None = None
    """Weights file of torchvision's alexnet, vgg16, squeezenet1_1 or squeezenet1_0. None: tuned with L1 alone."""
    lpips_heads: str | None = None
    """Weights file of the LPIPS heads for that network. None: its layers count alike, which is not LPIPS."""
    lpips_pixels: Literal["imagenet", "caffe"] = "imagenet"
    """What the backbone was trained on: torchvision's RGB, or Caffe's BGR in 0..255 without the mean."""
    lpips_weight: Positive = 1.0
    """Of LPIPS, beside an L1 distance of pixels in -1..1."""


class PrototypeSection(Section):
    """The prototype condition (PCM)."""

    enabled: bool = True
    """False: no prototypes at all."""
    instead: Literal["nothing", "block"] = "nothing"
    """Where prototypes are not enabled. block: in their place a block of as many parameters (those that the settings
    below would give a PCM), to tell what prototypes do from what more weights do."""
    per_class: Count | None = None
    """None: two for each patch token, as in the released configuration."""
    alpha: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the prototypes' reconstruction loss; released: 1."""
    target: Literal["stop_gradient", "released"] = "stop_gradient"
    """released keeps the authors' gradient on both sides, for comparison."""
    after: Literal["encoder", "middle"] = "encoder"
    """Whose features they condition: the encoder's (the paper), or the middle block's (released)."""
    injection: Literal["self_attention", "cross_attention", "released"] = "self_attention"
    """Behind the cross-attention to them: self-attention (the paper), nothing, or an MLP (released)."""
    zero_init: bool = True
    """What they inject starts at zero (the paper); false: like any other weight, as released."""
    init_std: Positive = 0.02
    """Their standard deviation at first; released: 1."""
    update_every: Count = 1
    """Prototypes move at every k-th step; gradients in between are discarded."""

    @property
    def has_block(self) -> bool:
        """Whether there is a PCM, or a block in its place."""
        return self.enabled or self.instead == "block"


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
    label_token: bool = True
    """Of uvit: the class is a token; false: only its prototypes tell it, as in one release."""
    null_text: Literal["learned", "empty"] = "learned"
    """Of uvit, where label and text are dropped: one learned token, or, as released, the text encoder's padded empty
    text, which wants bank.context_length=full."""
    prototypes: PrototypeSection = PrototypeSection()


class Diffusion(Section):
    """The forward process."""

    schedule: Literal["scaled_linear", "linear"] = "scaled_linear"
    """scaled_linear: Stable Diffusion's betas; linear: 1e-4..0.02, for pixels."""
    steps: Annotated[int, Field(ge=10)] = 1000
    """N."""
