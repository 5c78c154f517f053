"""From the configuration to the network and its noise schedule: the same in training, sampling and export."""

from vapray.config import Config
from vapray.diffusion.schedule import Schedule
from vapray.models.uvit import UViT, build_uvit

__all__ = ["build_network", "build_schedule"]


def build_network(config: Config, *, num_classes: int, latent_channels: int, context_width: int) -> UViT:
    """The U-ViT of ``model``, with weights that follow from ``run.seed``."""
    model, prototypes = config.model, config.model.prototypes
    return build_uvit(
        seed=config.run.seed,
        pcm=prototypes.enabled,
        latent_side=config.latent_side,
        latent_channels=latent_channels,
        patch_size=model.patch_size,
        width=model.width,
        depth=model.depth,
        num_heads=model.num_heads,
        num_classes=num_classes,
        context_width=context_width,
        max_context=config.bank.max_tokens,
        prototypes_per_class=prototypes.per_class,
        target=prototypes.target,
    )


def build_schedule(config: Config) -> Schedule:
    """The noise schedule of ``diffusion``."""
    make = Schedule.linear if config.diffusion.schedule == "linear" else Schedule.scaled_linear
    return make(config.diffusion.steps)
