"""Whether generated images help a classifier."""

from typing import Annotated, Literal

from pydantic import Field

from vapray.config.section import Count, Natural, Positive, Section

__all__ = ["Arm", "Classifier", "Downstream"]

Classifier = Literal["densenet121", "maxvit", "small"]
Arm = Literal["real", "real+synthetic", "synthetic_then_real"]


class Downstream(Section):
    """A grid of classifiers: each network, with each share of the real images, in each arm, from each seed."""

    networks: Annotated[tuple[Classifier, ...], Field(strict=False, min_length=1)] = ("small",)
    """densenet121 and maxvit (MaxViT-T) are the paper's; small is for laptops."""
    weights: dict[str, str] = Field(default_factory=dict)
    """Files that networks start from, such as {densenet121: FILE}, torchvision's or of an earlier run; else from random
    weights. The last layer is always new."""
    shares: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(strict=False, min_length=1)] = (
        0.01,
        0.1,
        1.0,
    )
    """Of the groups of each class in the train split; at least one. A smaller share is part of every larger one."""
    arms: Annotated[tuple[Arm, ...], Field(strict=False, min_length=1)] = (
        "real",
        "real+synthetic",
        "synthetic_then_real",
    )
    """real; real and generated images in one set; generated images first, then real ones."""
    seeds: Annotated[tuple[Natural, ...], Field(strict=False, min_length=1)] = (0, 1, 2)
    """Of initial weights, draws and flips; intervals are over them, and take two."""
    n_synthetic: Count | None = None
    """Generated images that train; None: all of ``sample.n_images``."""
    steps: Annotated[int, Field(ge=2)] = 300
    """Optimiser steps, the same in every arm."""
    synthetic_steps: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Of ``steps``, the share that synthetic_then_real spends on generated images."""
    batch_size: Annotated[int, Field(ge=2)] = 32
    """Images of a step, drawn so that every class is equally likely."""
    learning_rate: Positive = 1e-3
    """Peak of AdamW's one-cycle rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """AdamW's."""
    image_side: Annotated[int, Field(ge=8)] | None = None
    """Pixels that the networks see, of images at ``data.image_size``, whether real or generated; None: just these."""
    flips: Literal["none", "horizontal", "both"] = "horizontal"
    """Each with probability one half; both: top-bottom too, for pictures without an upright."""
