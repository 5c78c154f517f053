"""Where a number must not be trusted as it stands."""

from collections.abc import Iterator
from dataclasses import dataclass

from vapray.evaluation.adherence import Adherence
from vapray.evaluation.memorisation.audit import Memorisation
from vapray.evaluation.memorisation.judgement import CANNOT_TELL, COPIES
from vapray.evaluation.metrics import Metrics
from vapray.evaluation.report.content import ReportData
from vapray.evaluation.report.wording import known, number, percent

__all__ = ["Caution", "cautions"]

FEW_HELD_OUT = 100
"""Held-out pictures, below which the real floors are coarse."""
FEW_TO_LEARN, FEW_TO_JUDGE = 20, 30
"""Training and generated pictures of a class."""
CLEAR = 0.05
"""A share that is more than this above its ceiling is said to be."""


@dataclass(frozen=True)
class Caution:
    """One warning."""

    about: str
    text: str


def cautions(report: ReportData) -> list[Caution]:
    """Everything a reader has to know before quoting a number; the gravest first."""
    metrics = report.metrics
    found = [
        *_memorisation(report.memorisation),
        *_fid(metrics),
        *_beyond_real(metrics),
        *_sizes(metrics),
        *_classes(report),
        *_rejects(report),
    ]
    return [*found, *_captions(report.adherence, metrics), *_features(metrics)]


def _memorisation(found: Memorisation) -> Iterator[Caution]:
    if found.verdict == COPIES:
        yield Caution("Copies of training pictures", f"{found.why} Look at the nearest pairs below.")
    if found.verdict == CANNOT_TELL:
        yield Caution("Copies cannot be ruled out", found.why)


def _fid(metrics: Metrics) -> Iterator[Caution]:
    fid, real = metrics.further.get("fid_at_held_out_count"), metrics.fid_real_split
    if known(fid) and known(real) and fid < real:
        yield Caution(
            "FID beyond real pictures",
            f"Generated pictures score {number(fid)}, held-out real ones {number(real)} at the same count. "
            "That is what copies of training pictures score, or held-out pictures of another kind.",
        )


def _beyond_real(metrics: Metrics) -> Iterator[Caution]:
    pairs = (
        ("Label accuracy", metrics.label_accuracy, metrics.further.get("label_accuracy_real")),
        ("Caption adherence", metrics.caption_adherence, metrics.caption_adherence_ceiling),
    )
    for name, made, real in pairs:
        if known(made) and known(real) and made > real + CLEAR:
            yield Caution(
                f"{name} beyond real pictures",
                f"{percent(made)} against {percent(real)}. Strong guidance exaggerates what is typical, and copies "
                "score high: this is no proof of better pictures.",
            )


def _sizes(metrics: Metrics) -> Iterator[Caution]:
    for warning in metrics.warnings:
        yield Caution("Few pictures", warning)
    held_out = metrics.further.get("n_held_out")
    if known(held_out) and held_out < FEW_HELD_OUT:
        yield Caution(
            "Few held-out pictures",
            f"Every number of real pictures rests on {number(int(held_out))} of them and is coarse.",
        )


def _classes(report: ReportData) -> Iterator[Caution]:
    missing = [row.class_name for row in report.classes if not row.n_generated]
    if missing:
        yield Caution("Classes never generated", f"No picture was asked for of: {', '.join(missing)}.")
    few = [f"{row.class_name} ({row.n_generated})" for row in report.classes if 0 < row.n_generated < FEW_TO_JUDGE]
    if few:
        yield Caution(
            "Few generated pictures in a class",
            f"Label accuracy counts every class the same, yet rests on few pictures in: {', '.join(few)}.",
        )
    unjudged = [row.class_name for row in report.classes if not row.n_held_out]
    if unjudged:
        yield Caution("Classes not held out", f"No real picture to compare with of: {', '.join(unjudged)}.")
    rare = [f"{row.class_name} ({row.n_reference})" for row in report.classes if row.n_reference < FEW_TO_LEARN]
    if rare:
        yield Caution("Rare classes", f"Hardly anything to learn from: {', '.join(rare)} training pictures.")


def _rejects(report: ReportData) -> Iterator[Caution]:
    count = sum(row.count for row in report.rejects)
    if count:
        stages = ", ".join(dict.fromkeys(row.stage for row in report.rejects))
        yield Caution("Left out", f"{number(count)} rows were rejected by {stages}; the reasons stand below.")


def _captions(adherence: Adherence | None, metrics: Metrics) -> Iterator[Caution]:
    if adherence is None:
        yield Caution("Caption adherence not measured", "Attributes can be measured in dermoscopy images only.")
        return
    if metrics.provenance.captioner == "measured captions":
        yield Caution(
            "Captions and their check share one instrument",
            "The image analysis that wrote the captions also looks for them in the pictures: "
            "adherence says that its measurements are reproduced, not that a person would agree.",
        )
    blind = [
        row.name.replace("_", " ") for row in adherence.attributes if row.mentioned and row.ceiling <= row.shuffled
    ]
    if blind:
        yield Caution(
            "Attributes that cannot be judged",
            f"Even real pictures agree with their captions no better than by chance in: {', '.join(blind)}.",
        )


def _features(metrics: Metrics) -> Iterator[Caution]:
    if "inception" not in metrics.features.lower():
        yield Caution(
            "Not Inception features",
            f"FID, KID, precision and recall compare {metrics.features}: set them beside other runs with the same "
            "features, never beside published numbers.",
        )
