"""Conflicts between settings of representation alignment."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vapray.config.conflict import ConfigConflict

if TYPE_CHECKING:
    from vapray.config import Config

__all__ = ["find_alignment_conflicts"]


def find_alignment_conflicts(config: "Config") -> Iterator[ConfigConflict]:
    """Find a missing or unused teacher, and settings that alignment does not allow."""
    settings = config.alignment
    for key in ("weights", "revision") if settings.kind != "teacher" else ():
        if value := getattr(settings, key):
            text = f"alignment.{key} = {value}: only alignment.kind=teacher reads it. Fix: set that, or remove it."
            yield ConfigConflict((f"alignment.{key}", "alignment.kind"), text)
    if settings.kind == "none":
        return
    if config.model.network != "uvit":
        text = f"only model.network=uvit is aligned, not {config.model.network}. Fix: set it to none."
        yield _conflict(config, text, "model.network")
    if config.train.cbdm_weight:
        text = "the class-balancing loss (train.cbdm_weight) predicts every image twice. Fix: set it to none."
        yield _conflict(config, text, "train.cbdm_weight")
    if settings.block and settings.block > config.model.depth // 2:
        text = f"alignment.block = {settings.block}: model.depth {config.model.depth} has {config.model.depth // 2}"
        fix = "Fix: lower it, or remove it."
        yield ConfigConflict(("alignment.block", "model.depth"), f"{text} blocks before the middle. {fix}")
    if settings.kind == "teacher":
        yield from _teacher(config)


def _teacher(config: "Config") -> Iterator[ConfigConflict]:
    if not config.alignment.weights:
        text = "needs alignment.weights, the folder of the teacher, or hf-hub:OWNER/NAME."
        yield _conflict(config, text, "alignment.weights")
    if config.train.quarter_turns:
        text = "its features are stored for an image and its mirror image only. Fix: set train.quarter_turns=false."
        yield _conflict(config, text, "train.quarter_turns")


def _conflict(config: "Config", text: str, other: str) -> ConfigConflict:
    return ConfigConflict(("alignment.kind", other), f"alignment.kind = {config.alignment.kind}: {text}")
