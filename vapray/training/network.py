"""Network, parameterization and noise levels of a configuration, for training, sampling and export."""

from dataclasses import fields

from vapray.config import Config
from vapray.config.network import PrototypeSection
from vapray.diffusion.noise_levels import NoiseLevels
from vapray.diffusion.noise_schedule import NoiseSchedule
from vapray.diffusion.parameterization import Parameterization
from vapray.models.diffusers_denoiser import DiffusersDenoiser, build_dit, build_unet
from vapray.models.network_config import NetworkSizes, UViTConfig
from vapray.models.prototypes import PrototypeOptions
from vapray.models.uvit import UViT, build_uvit

__all__ = ["Network", "build_network", "build_noise_levels", "build_parameterization"]

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
        label_tokens=model.label_tokens,
        qk_norm=model.qk_norm,
        rope=model.rope,
        time_mlp=model.time_mlp,
        mlp=model.mlp,
        null_text=model.null_text,
        prototypes=_prototype_options(model.prototypes) if model.prototypes.has_block else None,
        matched_block=not model.prototypes.enabled,
    )
    return build_uvit(uvit, seed=config.run.seed)


def _prototype_options(section: PrototypeSection) -> PrototypeOptions:
    return PrototypeOptions(**{field.name: getattr(section, field.name) for field in fields(PrototypeOptions)})


def build_parameterization(config: Config) -> Parameterization:
    """Build the noise schedule of section ``diffusion``, and the meaning of the network's output."""
    settings = config.diffusion
    make = NoiseSchedule.linear if settings.schedule == "linear" else NoiseSchedule.scaled_linear
    schedule = (NoiseSchedule.flow if settings.path == "flow" else make)(settings.steps)
    return Parameterization(schedule, settings.prediction)


def build_noise_levels(config: Config) -> NoiseLevels:
    """Build the distribution of the diffusion steps of training."""
    settings = config.diffusion
    if settings.noise_levels == "uniform":
        return NoiseLevels.uniform(settings.steps)
    share = build_parameterization(config).schedule.noise_share
    return NoiseLevels(share, settings.noise_logit_std, settings.noise_logit_mean, settings.uniform_noise_share)
