"""Numbers of a run, each with its meaning in one sentence."""

from collections.abc import Callable
from dataclasses import dataclass

from vapray.evaluation.metrics import Metrics
from vapray.evaluation.report.wording import Number, interval_text, number, percent

__all__ = ["KINDS", "Explained", "Kind", "explained_numbers", "value_of"]


@dataclass(frozen=True)
class Explained:
    """Row of the table of numbers."""

    name: str
    value: str
    interval: str
    direction: str
    meaning: str


@dataclass(frozen=True)
class Kind:
    """Specification of a number that runs measure."""

    key: str
    """Key in ``metrics.json``."""
    name: str
    word: Callable[[Number], str]
    direction: str
    """Better direction: ``lower``, ``higher`` or ``near 1``."""
    meaning: str


KINDS = (
    Kind("fid", "FID", number, "lower", "Distance between the feature distributions of generated and training images."),
    Kind(
        "fid_at_held_out_count",
        "FID, fewer images",
        number,
        "lower",
        "FID of as many generated images as are held out, for comparison with real images.",
    ),
    Kind("kid", "KID", number, "lower", "Distance like FID, but unbiased for any number of images."),
    Kind("precision", "Precision", percent, "higher", "Share of generated images near real ones: fidelity."),
    Kind("recall", "Recall", percent, "higher", "Share of real images near generated ones: variety."),
    Kind("density", "Density", number, "higher", "Number of real neighbourhoods around a generated image, over k."),
    Kind("coverage", "Coverage", percent, "higher", "Share of real images with a generated image nearby."),
    Kind("prd_f8", "PRD F8", percent, "higher", "Coverage of the kinds of real images, by frequency: variety."),
    Kind("prd_f1_8", "PRD F1/8", percent, "higher", "Generated images of real kinds, by frequency: fidelity."),
    Kind(
        "label_accuracy",
        "Label accuracy",
        percent,
        "higher",
        "Share of generated images whose class a classifier recognizes; all classes have equal weight.",
    ),
    Kind(
        "inception_score",
        "Inception Score",
        number,
        "higher",
        "Confidence of a classifier for each image, and variety over all images; at least 1.",
    ),
    Kind(
        "caption_adherence",
        "Caption adherence",
        percent,
        "higher",
        "Share of the caption's attributes that are measured in the image.",
    ),
    Kind(
        "caption_adherence_relative",
        "Adherence, relative",
        percent,
        "higher",
        "Caption adherence between shuffled captions (0 %) and real images (100 %).",
    ),
    Kind(
        "caption_source_rank",
        "Rank of the caption's source",
        percent,
        "higher",
        "Share of other sources of the class farther away than the image's own source; 50 % is chance.",
    ),
    Kind(
        "nearest_training_relative",
        "Distance to training",
        number,
        "near 1",
        "Median distance to the nearest training image, relative to held-out real images. "
        "A value far below 1 indicates copies.",
    ),
    Kind(
        "copies_share_pixels",
        "As near as copies, in pixels",
        percent,
        "lower",
        "Share of generated images as near to a training image, in any flip and slightly shifted, as the nearest 1 % "
        "of held-out images. For new images it is about 1 %.",
    ),
    Kind(
        "copies_share_features",
        "As near as copies, in features",
        percent,
        "lower",
        "The same in the features of FID.",
    ),
)


def value_of(metrics: Metrics, kind: Kind) -> Number:
    """Value of a number, or None if this run did not measure it."""
    found: Number = getattr(metrics, kind.key, metrics.further.get(kind.key))
    return found


def explained_numbers(metrics: Metrics) -> list[Explained]:
    """List all numbers that this run measured, in the order of the table."""
    return [
        Explained(
            kind.name,
            kind.word(value),
            interval_text(metrics.intervals.get(kind.key), kind.word.__name__),
            kind.direction,
            kind.meaning,
        )
        for kind in KINDS
        if (value := value_of(metrics, kind)) is not None
    ]
