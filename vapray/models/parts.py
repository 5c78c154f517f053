"""Blocks and PCM of a U-ViT of a given architecture."""

from vapray.models.attention import Block
from vapray.models.network_config import UViTConfig
from vapray.models.prototypes import PrototypeCondition

__all__ = ["build_block", "build_prototype_condition"]


def build_block(config: UViTConfig, *, long_skip: bool) -> Block:
    """Build a block; an out-block has a long skip."""
    return Block(
        config.width,
        config.num_heads,
        config.mlp_ratio,
        long_skip=long_skip,
        qk_norm=config.qk_norm,
        mlp_kind=config.mlp,
    )


def build_prototype_condition(config: UViTConfig) -> PrototypeCondition | None:
    """Build the PCM; None for a network without one."""
    if config.prototypes is None:
        return None
    return PrototypeCondition(
        num_classes=config.num_classes,
        prototypes_per_class=config.prototypes.per_class or 2 * config.patches,
        width=config.width,
        num_heads=config.num_heads,
        mlp_ratio=config.mlp_ratio,
        options=config.prototypes,
        qk_norm=config.qk_norm,
    )
