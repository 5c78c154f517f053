"""Every further number with what it asks, in one plain sentence."""

from collections.abc import Callable
from dataclasses import dataclass

from vapray.evaluation.metrics import Metrics
from vapray.evaluation.report.wording import Number, interval_text, number, percent

__all__ = ["KINDS", "Explained", "Kind", "explained_numbers", "value_of"]


@dataclass(frozen=True)
class Explained:
    """A row of the table of numbers."""

    name: str
    value: str
    interval: str
    direction: str
    meaning: str


@dataclass(frozen=True)
class Kind:
    """A number that runs measure."""

    key: str
    """In ``metrics.json``."""
    name: str
    word: Callable[[Number], str]
    direction: str
    """``lower`` or ``higher`` is better, or ``near 1``."""
    meaning: str


KINDS = (
    Kind("fid", "FID", number, "lower", "Distance between all generated and all training pictures, as two clouds."),
    Kind(
        "fid_at_held_out_count",
        "FID, fewer pictures",
        number,
        "lower",
        "The same of as many generated pictures as are held out: the one to set beside real pictures.",
    ),
    Kind("kid", "KID", number, "lower", "The same question; unlike FID it does not fall as pictures are added."),
    Kind("precision", "Precision", percent, "higher", "Generated pictures that lie among real ones: fidelity."),
    Kind("recall", "Recall", percent, "higher", "Real pictures that lie among generated ones: variety."),
    Kind("density", "Density", number, "higher", "How many real neighbourhoods a generated picture lies in, over k."),
    Kind("coverage", "Coverage", percent, "higher", "Real pictures with a generated one in their neighbourhood."),
    Kind("prd_f8", "PRD F8", percent, "higher", "Kinds of real pictures that are made as often: variety."),
    Kind("prd_f1_8", "PRD F1/8", percent, "higher", "Generated pictures of real kinds, no more than there are."),
    Kind(
        "label_accuracy",
        "Label accuracy",
        percent,
        "higher",
        "Generated pictures whose class a classifier recognises, every class counted the same.",
    ),
    Kind(
        "inception_score",
        "Inception Score",
        number,
        "higher",
        "Are single pictures clear to a classifier, and all together varied? 1 is the least.",
    ),
    Kind(
        "caption_adherence",
        "Caption adherence",
        percent,
        "higher",
        "Attributes of the caption that can be measured again in the picture.",
    ),
    Kind(
        "caption_adherence_relative",
        "Adherence, relative",
        percent,
        "higher",
        "The same between shuffled captions (0 %) and real pictures (100 %).",
    ),
    Kind(
        "caption_source_rank",
        "Rank of the caption's source",
        percent,
        "higher",
        "Of the pictures whose captions were given, others of the class that are farther away than the own; 50 % is "
        "chance.",
    ),
    Kind(
        "nearest_training_relative",
        "Distance to training",
        number,
        "near 1",
        "How far the nearest training picture usually is, over the same of real held-out pictures. "
        "Far below 1 speaks of copies.",
    ),
    Kind(
        "copies_share_pixels",
        "As near as copies, in pixels",
        percent,
        "lower",
        "Generated pictures whose nearest training picture, in any flip and moved a little, stands out as it does for "
        "the nearest 1 % of held-out ones. About 1 % of new pictures do.",
    ),
    Kind(
        "copies_share_features",
        "As near as copies, in features",
        percent,
        "lower",
        "The same in the features that FID compares.",
    ),
)


def value_of(metrics: Metrics, kind: Kind) -> Number:
    """The number, or None where this run did not measure it."""
    found: Number = getattr(metrics, kind.key, metrics.further.get(kind.key))
    return found


def explained_numbers(metrics: Metrics) -> list[Explained]:
    """All that this run measured, in the order in which a reader asks."""
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
