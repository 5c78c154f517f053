"""Conflicts between settings of the evaluation."""

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from vapray.config.conflict import ConfigConflict

if TYPE_CHECKING:
    from vapray.config import Config

__all__ = ["find_evaluation_conflicts"]

WITHOUT_WEIGHTS = ("random_convolutions", "classifier")
WITH_PIXELS, OF_THE_HUB = ("vgg16", "squeezenet", "densenet121"), ("dinov2", "biomedclip")


def find_evaluation_conflicts(config: "Config") -> Iterator[ConfigConflict]:
    """Find extractors without weights, settings that the chosen extractor does not read, and unusable groups."""
    yield from _groups(config)
    settings = config.evaluate
    features = settings.features
    if features in (*WITH_PIXELS, *OF_THE_HUB) and not settings.weights:
        wanted = "a weights file" if features in WITH_PIXELS else "a directory, or hf-hub:OWNER/NAME"
        text = f"evaluate.features = {features}: needs evaluate.weights, {wanted}."
        yield ConfigConflict(("evaluate.features", "evaluate.weights"), text)
    unread = {
        "weights": features in WITHOUT_WEIGHTS and settings.weights,
        "revision": features not in OF_THE_HUB and settings.revision,
        "preprocessing": features not in WITH_PIXELS
        and settings.preprocessing != "imagenet"
        and settings.preprocessing,
    }
    for key, value in unread.items():
        if value:
            text = f"evaluate.{key} = {value}: evaluate.features = {features} does not read it. Fix: remove it."
            yield ConfigConflict((f"evaluate.{key}", "evaluate.features"), text)


def _groups(config: "Config") -> Iterator[ConfigConflict]:
    groups, bins = config.evaluate.groups, config.evaluate.group_bins
    if twice := [name for place, name in enumerate(groups) if name in groups[:place]]:
        yield ConfigConflict(("evaluate.groups",), f"evaluate.groups: names {twice[0]} twice. Fix: remove one.")
    for name, bounds in bins.items():
        key = f"evaluate.group_bins.{name}"
        if name not in groups:
            text = f"{key}: {name} is not in evaluate.groups. Fix: add it there, or remove the bins."
            yield ConfigConflict(("evaluate.group_bins", "evaluate.groups"), text)
        if not bounds or any(high <= low for low, high in pairwise(bounds)):
            text = f"{key} = {list(bounds)}: expected one or more ascending bounds, such as [40, 60]."
            yield ConfigConflict(("evaluate.group_bins",), text)
