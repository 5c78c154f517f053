"""Specifications of the metrics of a run: name, format, better direction, meaning and conditions of a comparison."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from vapray.report.number_format import Number, number, percent

__all__ = ["METRIC_SPECS", "MetricSpec"]


@dataclass(frozen=True)
class MetricSpec:
    """Specification of one metric."""

    key: str
    """Key in ``metrics.json``."""
    name: str
    format: Callable[[Number], str]
    direction: Literal["lower", "higher", "near 1"]
    """Better direction."""
    meaning: str
    """Explanation in the report, in one or two sentences."""
    needs_same_features: bool = False
    """True if only values in the same feature space can be compared: for everything computed from features."""
    needs_same_count: bool = False
    """True if the value depends on the number of generated images: FID is biased, and balls shrink as a set grows."""
    needs_same_prompts: bool = False
    """True if only values of the same prompt set can be compared."""

    def improved(self, first: float, second: float) -> bool:
        """Check that ``second`` is better than ``first``."""
        if self.direction == "near 1":
            return abs(second - 1) < abs(first - 1)
        return (second < first) == (self.direction == "lower")


METRIC_SPECS = (
    MetricSpec(
        "fid",
        "FID",
        number,
        "lower",
        "Distance between the feature distributions of generated and training images.",
        needs_same_features=True,
        needs_same_count=True,
    ),
    MetricSpec(
        "fid_at_held_out_count",
        "FID, fewer images",
        number,
        "lower",
        "FID of as many generated images as are held out, for comparison with real images.",
        needs_same_features=True,
    ),
    MetricSpec(
        "kid",
        "KID",
        number,
        "lower",
        "Distance like FID, but unbiased for any number of images.",
        needs_same_features=True,
    ),
    MetricSpec(
        "precision",
        "Precision",
        percent,
        "higher",
        "Share of generated images near real ones: fidelity.",
        needs_same_features=True,
        needs_same_count=True,
    ),
    MetricSpec(
        "recall",
        "Recall",
        percent,
        "higher",
        "Share of real images near generated ones: variety.",
        needs_same_features=True,
        needs_same_count=True,
    ),
    MetricSpec(
        "density",
        "Density",
        number,
        "higher",
        "Number of real neighbourhoods around a generated image, over k.",
        needs_same_features=True,
        needs_same_count=True,
    ),
    MetricSpec(
        "coverage",
        "Coverage",
        percent,
        "higher",
        "Share of real images with a generated image nearby.",
        needs_same_features=True,
        needs_same_count=True,
    ),
    MetricSpec(
        "prd_f8",
        "PRD F8",
        percent,
        "higher",
        "Coverage of the kinds of real images, by frequency: variety.",
        needs_same_features=True,
    ),
    MetricSpec(
        "prd_f1_8",
        "PRD F1/8",
        percent,
        "higher",
        "Generated images of real kinds, by frequency: fidelity.",
        needs_same_features=True,
    ),
    MetricSpec(
        "label_accuracy",
        "Label accuracy",
        percent,
        "higher",
        "Share of generated images whose class a classifier recognizes; all classes have equal weight.",
    ),
    MetricSpec(
        "inception_score",
        "Inception Score",
        number,
        "higher",
        "Confidence of a classifier for each image, and variety over all images; at least 1.",
    ),
    MetricSpec(
        "caption_adherence",
        "Caption adherence",
        percent,
        "higher",
        "Share of the caption's attributes that are measured in the image.",
        needs_same_prompts=True,
    ),
    MetricSpec(
        "caption_adherence_relative",
        "Adherence, relative",
        percent,
        "higher",
        "Caption adherence between shuffled captions (0 %) and real images (100 %).",
        needs_same_prompts=True,
    ),
    MetricSpec(
        "caption_source_rank",
        "Rank of the caption's source",
        percent,
        "higher",
        "Share of other sources of the class farther away than the image's own source; 50 % is chance.",
        needs_same_features=True,
    ),
    MetricSpec(
        "nearest_training_relative",
        "Distance to training",
        number,
        "near 1",
        "Median distance to the nearest training image, relative to held-out real images. "
        "A value far below 1 indicates copies.",
        needs_same_features=True,
    ),
    MetricSpec(
        "copies_share_pixels",
        "As near as copies, in pixels",
        percent,
        "lower",
        "Share of generated images as near to a training image, in any flip and slightly shifted, as the nearest 1 % "
        "of held-out images. For new images it is about 1 %.",
    ),
    MetricSpec(
        "copies_share_features", "As near as copies, in features", percent, "lower", "The same in the features of FID."
    ),
)
