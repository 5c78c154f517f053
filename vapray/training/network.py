"""Network and noise schedule of a configuration, for training, sampling and export."""

from dataclasses import fields

from vapray.config import Config
from vapray.config.network import PrototypeSection
from vapray.diffusion.noise_schedule import NoiseSchedule
from vapray.models.diffusers_denoiser import DiffusersDenoiser, build_dit, build_unet
from vapray.models.network_config import NetworkSizes, UViTConfig
from vapray.models.prototypes import PrototypeOptions
from vapray.models.uvit import UViT, build_uvit

__all__ = ["Network", "build_network", "build_schedule"]

Network = UViT | DiffusersDenoiser


def build_network(config: Config, *, num_classes: int, latent_channels: int, context_width: int) -> Network:
    """Build the network of section ``model``, with weights that depend on ``run.seed`` only.

    Raises:
        ValueError: sizes that do not fit together.
    """
    model = config.model
    sizes = NetworkSizes(
        latent_side=config.latent_side,
        latent_channels=latent_channels,
        width=model.width,
        depth=model.depth,
        num_heads=model.num_heads,
        num_classes=num_classes,
    )
    if model.network == "unet":
        return build_unet(sizes, seed=config.run.seed)
    if model.network == "dit":
        return build_dit(sizes, model.patch_size, seed=config.run.seed)
    uvit = UViTConfig(
        **vars(sizes),
        patch_size=model.patch_size,
        context_width=context_width if model.condition == "caption" else None,
        max_context=config.text_encoder.max_tokens,
        label_token=model.label_token,
        null_text=model.null_text,
        prototypes=_prototype_options(model.prototypes) if model.prototypes.has_block else None,
        matched_block=not model.prototypes.enabled,
    )
    return build_uvit(uvit, seed=config.run.seed)


def _prototype_options(section: PrototypeSection) -> PrototypeOptions:
    return PrototypeOptions(**{field.name: getattr(section, field.name) for field in fields(PrototypeOptions)})


def build_schedule(config: Config) -> NoiseSchedule:
    """Build the noise schedule of section ``diffusion``."""
    make = NoiseSchedule.linear if config.diffusion.schedule == "linear" else NoiseSchedule.scaled_linear
    return make(config.diffusion.steps)
