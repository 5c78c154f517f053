"""Numbers and their meaning in plain words."""

import math
from dataclasses import dataclass

from vapray.evaluation.intervals import Interval
from vapray.evaluation.metrics import Metrics

ABSENT = "\N{EN DASH}"

Number = float | int | None


def known(value: Number) -> bool:
    """Whether there is a number to show."""
    return value is not None and math.isfinite(value)


def number(value: Number) -> str:
    """Three significant digits, thousands set apart; a dash for what was not measured."""
    if value is None or not math.isfinite(value):
        return ABSENT
    if abs(value) >= 1000 or (isinstance(value, int) and not isinstance(value, bool)):
        return f"{value:,.0f}"
    if value == 0 or abs(value) >= 1e-4:
        decimals = 2 - math.floor(math.log10(abs(value))) if value else 0
        return f"{value:.{max(0, min(decimals, 6))}f}"
    return f"{value:.1e}"


def percent(value: Number) -> str:
    """A share of one as whole percent."""
    return f"{100 * value:.0f} %" if value is not None and math.isfinite(value) else ABSENT


def duration(seconds: float) -> str:
    """Seconds below a minute, otherwise minutes and seconds, otherwise hours and minutes."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def interval_text(interval: Interval | None, form: str = "number") -> str:
    """``95 % interval 1.2 to 3.4``, or nothing."""
    if interval is None:
        return ""
    word = percent if form == "percent" else number
    return f"{interval.level:.0%} interval {word(interval.low)} to {word(interval.high)}".replace("%", " %", 1)


@dataclass(frozen=True)
class Headline:
    """One number of the summary."""

    name: str
    value: str
    direction: str
    meaning: str
    interval: str


def headlines(metrics: Metrics) -> list[Headline]:
    """The numbers that open the report, with what each one asks."""
    bounds = metrics.intervals

    def row(name: str, key: str, shown: str, direction: str, meaning: str, form: str = "number") -> Headline:
        return Headline(name, shown, direction, meaning, interval_text(bounds.get(key), form))

    m = metrics
    return [
        row(
            "FID",
            "fid",
            number(m.fid),
            "lower is better",
            "How far all pictures together are from real ones.",
        ),
        row(
            "KID",
            "kid",
            number(m.kid),
            "lower is better",
            "The same question, fair to small numbers of pictures.",
        ),
        row(
            "Precision",
            "precision",
            percent(m.precision),
            "higher is better",
            "How many generated pictures look like some real one.",
            "percent",
        ),
        row(
            "Recall",
            "recall",
            percent(m.recall),
            "higher is better",
            "How much of the variety of real pictures is reached.",
            "percent",
        ),
        row(
            "Label accuracy",
            "label_accuracy",
            percent(m.label_accuracy),
            "higher is better",
            "How often a classifier trained on real pictures sees the class that was asked for.",
            "percent",
        ),
        row(
            "Inception Score",
            "inception_score",
            number(m.inception_score),
            "higher is better",
            f"Are single pictures clear and all together varied? From: {m.provenance.classifier}.",
        ),
    ]


def fid_finding(metrics: Metrics) -> str:
    """One sentence that places the FID between its floors, whatever it says."""
    floors = [
        ("class means with noise", metrics.fid_class_mean),
        ("the untrained network", metrics.fid_untrained),
    ]
    measured = [(name, value) for name, value in floors if known(value)]
    if not known(metrics.fid) or not measured:
        return ""
    beaten = [name for name, value in measured if metrics.fid < value]
    missed = [name for name, value in measured if metrics.fid >= value]
    parts = ["The generated pictures are closer to the real ones than " + " and ".join(beaten)] if beaten else []
    if missed:
        parts.append("They are not closer than " + " and ".join(missed))
    if known(metrics.fid_real_split):
        parts.append(f"Real pictures that were held out score {number(metrics.fid_real_split)}")
    return ". ".join(parts) + "."


def adherence_finding(relative: Number, interval: Interval | None) -> str:
    """One sentence on what captions do beyond the class."""
    if not known(relative):
        return (
            "Real pictures agree with their own captions no better than with others of their class, "
            "so this run cannot say whether captions are followed."
        )
    text = f"Captions are followed {percent(relative)} of the way from chance within the class to real pictures"
    bounds = interval_text(interval, "percent")
    if interval is not None and interval.low <= 0:
        return f"{text} ({bounds}): not clearly above chance."
    return f"{text} ({bounds})." if bounds else f"{text}."
