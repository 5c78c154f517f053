"""Settings of the downstream classifiers, which measure whether generated images help."""

from typing import Annotated, Literal

from pydantic import Field

from vapray.config.section import ConfigSection, NonNegativeInt, PathText, PositiveFloat, PositiveInt

__all__ = ["Arm", "Classifier", "Downstream"]

Classifier = Literal["densenet121", "maxvit", "small"]
Arm = Literal["real", "real+synthetic", "synthetic_then_real"]


class Downstream(ConfigSection):
    """Settings of a grid of classifiers: each network, share of the real images, arm and seed."""

    networks: Annotated[tuple[Classifier, ...], Field(strict=False, min_length=1)] = ("small",)
    """Networks of the grid. densenet121 and maxvit (MaxViT-T) are the paper's; small is for laptops."""
    weights: dict[str, PathText] = Field(default_factory=dict)
    """Initial weights per network, such as {densenet121: FILE}, from torchvision or an earlier run; networks not named
    start from random weights. The last layer is always new."""
    shares: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(strict=False, min_length=1)] = (
        0.01,
        0.1,
        1.0,
    )
    """Shares of the groups of each class in the train split, above 0 and at most 1; at least one group is used. A
    smaller share is a subset of every larger one."""
    arms: Annotated[tuple[Arm, ...], Field(strict=False, min_length=1)] = (
        "real",
        "real+synthetic",
        "synthetic_then_real",
    )
    """Training sets to compare. real: real images; real+synthetic: real and generated images together;
    synthetic_then_real: generated images first, then real ones."""
    seeds: Annotated[tuple[NonNegativeInt, ...], Field(strict=False, min_length=1)] = (0, 1, 2)
    """Seeds of initial weights, draws and flips. Intervals are computed over seeds and need at least two."""
    n_synthetic: PositiveInt | None = None
    """Number of generated training images; None: all ``sample.n_images``."""
    steps: Annotated[int, Field(ge=2)] = 300
    """Number of optimizer steps, the same in every arm."""
    synthetic_steps: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of ``steps`` that synthetic_then_real spends on generated images, above 0 and below 1."""
    batch_size: Annotated[int, Field(ge=2)] = 32
    """Number of images per step; every class is drawn equally often."""
    learning_rate: PositiveFloat = 1e-3
    """Peak learning rate of AdamW's one-cycle schedule."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Weight decay of AdamW."""
    image_side: Annotated[int, Field(ge=8)] | None = None
    """Side of the networks' input, in pixels; real and generated images are resized to it from ``data.image_size``.
    None: no resizing."""
    flips: Literal["none", "horizontal", "both"] = "horizontal"
    """Random flips, each with probability 1/2. both: also top-bottom, for images without an upright orientation."""
