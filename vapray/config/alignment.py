"""Settings of representation alignment."""

from typing import Literal

from vapray.config.section import ConfigSection, PathText, PositiveFloat, PositiveInt, UnitInterval

__all__ = ["Alignment"]

FALL = 0.1
"""Share of the steps over which the weight falls to zero."""


class Alignment(ConfigSection):
    """Settings of an additional loss on the U-ViT's patch tokens, for the first part of training."""

    kind: Literal["none", "teacher", "dispersive"] = "none"
    """Loss. teacher: the tokens predict the patch features of a frozen network (iREPA); dispersive: the tokens of
    different images are kept apart, without a teacher."""
    teacher: Literal["dinov2", "biomedclip"] = "dinov2"
    """For teacher: frozen network. dinov2: DINOv2 of any size; biomedclip: BiomedCLIP's image tower."""
    weights: PathText | None = None
    """For teacher: its folder, or hf-hub:OWNER/NAME."""
    revision: str | None = None
    """Commit, tag or branch of a hub model."""
    weight: PositiveFloat = 0.5
    """Weight of the loss."""
    block: PositiveInt | None = None
    """Number of the block before the middle whose output is used, from 1. None: a quarter of ``model.depth``."""
    share: UnitInterval = 0.4
    """Share of the training steps, 0 to 1, with the full weight; it falls to zero over the next tenth."""
