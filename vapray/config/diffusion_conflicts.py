"""Conflicts between settings of the diffusion process."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vapray.config.conflict import ConfigConflict

if TYPE_CHECKING:
    from vapray.config import Config

__all__ = ["find_diffusion_conflicts"]


def find_diffusion_conflicts(config: "Config") -> Iterator[ConfigConflict]:
    """Find a prediction that the path, a baseline or given weights do not allow."""
    diffusion, train = config.diffusion, config.train
    if diffusion.path == "flow" and diffusion.prediction == "epsilon":
        text = "the path flow ends in pure noise, from which predicted noise gives no image. Fix: set it to x or v."
        yield _conflict("prediction", diffusion.prediction, text, "diffusion.path")
    if diffusion.path == "flow" and diffusion.loss == "epsilon":
        text = "at the last step of path flow it has no weight. Fix: set it to v, x or min_snr."
        yield _conflict("loss", diffusion.loss, text, "diffusion.path")
    if train.cbdm_weight and diffusion.prediction != "epsilon":
        text = "the class-balancing loss (train.cbdm_weight) compares predicted noise. Fix: set it to epsilon."
        yield _conflict("prediction", diffusion.prediction, text, "train.cbdm_weight")
    if train.init_from and train.init_from.endswith(".pth") and diffusion.prediction != "epsilon":
        text = f"the released weights train.init_from={train.init_from} predict noise. Fix: set it to epsilon."
        yield _conflict("prediction", diffusion.prediction, text, "train.init_from")


def _conflict(key: str, value: str, text: str, other: str) -> ConfigConflict:
    return ConfigConflict((f"diffusion.{key}", other), f"diffusion.{key} = {value}: {text}")
