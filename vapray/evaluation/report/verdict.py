"""Verdict of a run in words, and its three key numbers with floors and ceilings."""

import math
from dataclasses import dataclass

from vapray.evaluation.adherence import Adherence
from vapray.evaluation.metrics import Metrics
from vapray.metrics.intervals import Interval
from vapray.report.gauge import Entry, Gauge, gauge
from vapray.report.number_format import Number, format_factor, interval_text, is_measured, number, percent

__all__ = [
    "KeyFigure",
    "adherence_finding",
    "adherence_gauge",
    "fid_finding",
    "fid_gauge",
    "headline",
    "key_figures",
    "label_finding",
    "label_gauge",
]

NEAR = 1.5
"""Factor up to which a FID counts as close to another."""
SAME = 0.02
"""Difference up to which shares count as equal."""


@dataclass(frozen=True)
class KeyFigure:
    """One key number of the verdict."""

    name: str
    question: str
    value: str
    interval: str
    gauge: Gauge | None
    finding: str


def headline(metrics: Metrics) -> str:
    """Summarize images and captions in one sentence, never better than the numbers."""
    pictures, followed = _pictures(metrics), metrics.value("caption_adherence_relative")
    if not is_measured(followed):
        return f"{pictures}."
    bounds = metrics.intervals.get("caption_adherence_relative")
    if bounds is not None and bounds.low <= 0:
        return f"{pictures}; captions are not clearly followed."
    return f"{pictures}; captions count for {percent(followed)} (0 %: as shuffled ones, 100 %: as in real images)."


def _pictures(metrics: Metrics) -> str:
    floors = [value for value in (metrics.fid_class_mean, metrics.fid_untrained) if is_measured(value)]
    fid, real = _fid_for_real_floors(metrics), metrics.fid_real_split
    if not is_measured(metrics.fid) or not floors:
        return "The distance to real images was not measured"
    if metrics.fid >= min(floors):
        return "No closer to real images than a simple baseline"
    if is_measured(real) and fid <= NEAR * real:
        return "As close to the training images as held-out real images, in these features"
    return "Better than simple baselines, worse than real images"


def key_figures(metrics: Metrics, adherence: Adherence | None, classes: int) -> list[KeyFigure]:
    """Build the key figures: FID, label accuracy and, if it was measured, caption adherence."""
    bounds = metrics.intervals
    figures = [
        KeyFigure(
            "FID",
            "How far is the set of images from real images?",
            number(metrics.fid),
            interval_text(bounds.get("fid")),
            fid_gauge(metrics),
            fid_finding(metrics),
        ),
        KeyFigure(
            "Label accuracy",
            "Do images show the requested class?",
            percent(metrics.label_accuracy),
            interval_text(bounds.get("label_accuracy"), percent),
            label_gauge(metrics, classes),
            label_finding(metrics),
        ),
    ]
    if adherence is None:
        return figures
    return [
        *figures,
        KeyFigure(
            "Caption adherence",
            "Do images show what their captions say?",
            percent(adherence.adherence),
            interval_text(adherence.adherence_interval, percent),
            adherence_gauge(metrics),
            adherence_finding(adherence.relative, adherence.relative_interval),
        ),
    ]


def fid_gauge(metrics: Metrics, *others: Entry, made: str = "Generated") -> Gauge | None:
    """Gauge of FID between baselines and real images; ``others`` are added, ``made`` is the label of this run."""
    entries = [
        Entry("Untrained network", metrics.fid_untrained, "floor"),
        Entry("Class means with noise", metrics.fid_class_mean, "floor"),
        Entry(made, metrics.fid, "made", metrics.intervals.get("fid")),
        Entry("Real, through the autoencoder", metrics.value("fid_real_reconstructed"), "real"),
        Entry("Real, held out", metrics.fid_real_split, "real"),
    ]
    return gauge("FID", [*entries, *others], number, lower_is_better=True)


def label_gauge(metrics: Metrics, classes: int, *others: Entry, made: str = "Generated") -> Gauge | None:
    """Gauge of label accuracy between guessing among ``classes`` and real images."""
    entries = [
        Entry("Guessing", 1 / classes if classes else math.nan, "floor"),
        Entry(made, metrics.label_accuracy, "made", metrics.intervals.get("label_accuracy")),
        Entry("Real, held out", metrics.value("label_accuracy_real"), "real"),
    ]
    return gauge("Label accuracy", [*entries, *others], percent)


def adherence_gauge(metrics: Metrics, *others: Entry, made: str = "Generated") -> Gauge | None:
    """Gauge of caption adherence between captions of other images and real images."""
    entries = [
        Entry("With captions shuffled in the class", metrics.caption_adherence_shuffled, "floor"),
        Entry(made, metrics.caption_adherence, "made", metrics.intervals.get("caption_adherence")),
        Entry("Real, through the autoencoder", metrics.caption_adherence_ceiling, "real"),
    ]
    return gauge("Caption adherence", [*entries, *others], percent)


def fid_finding(metrics: Metrics) -> str:
    """Compare the FID with its floors and real images, in one or two sentences."""
    floors = [("class means with noise", metrics.fid_class_mean), ("the untrained network", metrics.fid_untrained)]
    measured = [(name, value) for name, value in floors if is_measured(value)]
    if not is_measured(metrics.fid) or not measured:
        return ""
    beaten = [f"{name} ({format_factor(value / metrics.fid)})" for name, value in measured if metrics.fid < value]
    missed = [name for name, value in measured if metrics.fid >= value]
    parts = ["Closer to real images than " + " and ".join(beaten)] if beaten else []
    if missed:
        parts.append("Not closer to real images than " + " and ".join(missed))
    return ". ".join([*parts, *_beside_real(metrics)]) + "."


def _beside_real(metrics: Metrics) -> list[str]:
    """Compare the FID with that of real images, at the same number of images."""
    fid, real = _fid_for_real_floors(metrics), metrics.fid_real_split
    if not is_measured(real) or real <= 0:
        return []
    if fid < real:
        return [f"Held-out real images score {number(real)}, which is worse"]
    count = f" (FID {number(fid)} for as few images)" if fid != metrics.fid else ""
    return [f"Still {format_factor(fid / real)} as far as held-out real images{count}"]


def label_finding(metrics: Metrics) -> str:
    """Compare label accuracy with that of real images, in one sentence."""
    made, real = metrics.label_accuracy, metrics.value("label_accuracy_real")
    if not is_measured(made):
        return ""
    text = f"A classifier trained on real images recognizes the requested class in {percent(made)}"
    if not is_measured(real):
        return f"{text}."
    if made > real + SAME:
        return f"{text}, more than in real images ({percent(real)}): generated images are more typical of their class."
    return f"{text}; in held-out real images, {percent(real)}."


def adherence_finding(relative: Number, interval: Interval | None) -> str:
    """Describe the effect of captions beyond the class, in one sentence."""
    if not is_measured(relative):
        return (
            "Real images agree with their own captions no better than with others of their class, "
            "so caption adherence cannot be measured in this run."
        )
    text = f"With shuffled captions 0 %, in real images 100 %; this model {percent(relative)}"
    bounds = f"95 % interval {interval_text(interval, percent)}" if interval else ""
    if interval is not None and interval.low <= 0:
        return f"{text} ({bounds}): not clearly above chance."
    return f"{text} ({bounds})." if bounds else f"{text}."


def _fid_for_real_floors(metrics: Metrics) -> float:
    """FID at the number of images of the real floors, because FID falls with the number."""
    fair = metrics.value("fid_at_held_out_count")
    return fair if is_measured(fair) else metrics.fid
