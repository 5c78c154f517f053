"""Caveats: conditions under which a number must not be trusted."""

from collections.abc import Iterator
from dataclasses import dataclass

from vapray.evaluation.metrics import Metrics
from vapray.evaluation.report.content import ReportData
from vapray.memorisation.audit import Memorisation
from vapray.memorisation.copy_test import CANNOT_TELL, COPIES
from vapray.report.number_format import is_measured, number, percent

__all__ = ["Caveat", "caveats"]

FEW_HELD_OUT = 100
"""Number of held-out images below which the real floors are coarse."""
FEW_TO_LEARN, FEW_TO_JUDGE = 20, 30
"""Number of training and of generated images of a class below which a caveat is shown."""
SHORT_TRAINING = 20_000
"""Number of images seen in training, with repetitions, below which a caveat is shown."""
WEAK_JUDGE = 0.75
"""Accuracy of the classifier in real images below which label accuracy says little."""
CLEAR = 0.05
"""Difference above its ceiling from which a share is reported."""


@dataclass(frozen=True)
class Caveat:
    """One caveat."""

    about: str
    text: str


def caveats(report: ReportData) -> list[Caveat]:
    """List all caveats, the most severe first."""
    metrics = report.metrics
    found = [
        *_memorisation(report.memorisation),
        *_training(metrics),
        *_fid(metrics),
        *_beyond_real(metrics),
        *_judge(metrics),
        *_sizes(metrics),
        *_samples(metrics),
        *_classes(report),
        *_rejects(report),
    ]
    return [*found, *_captions(report, metrics), *_features(metrics)]


def _training(metrics: Metrics) -> Iterator[Caveat]:
    seen = metrics.provenance.training_images
    if seen is not None and seen < SHORT_TRAINING:
        yield Caveat(
            "Short training",
            f"The network has seen {number(seen)} images, with repetitions, which is few at any size. "
            "Raise train.steps before you judge the images.",
        )


def _samples(metrics: Metrics) -> Iterator[Caveat]:
    for name, shown in (("fid", "FID"), ("kid", "KID, precision and recall"), ("fid_real_split", "The floors")):
        basis = metrics.basis.get(name)
        if basis and basis["how"] != "all":
            sizes = " and ".join(
                f"{number(some)} of {number(of)}" for some, of in zip(basis["n"], basis["of"], strict=True)
            )
            yield Caveat("Samples", f"{shown} rest on samples of {sizes} images: {basis['how']}.")


def _memorisation(found: Memorisation) -> Iterator[Caveat]:
    if found.verdict == COPIES:
        yield Caveat("Copies of training images", f"{found.why} See the nearest pairs below.")
    if found.verdict == CANNOT_TELL:
        yield Caveat("Copies cannot be ruled out", found.why)


def _fid(metrics: Metrics) -> Iterator[Caveat]:
    fid, real = metrics.value("fid_at_held_out_count"), metrics.fid_real_split
    if is_measured(fid) and is_measured(real) and fid < real:
        yield Caveat(
            "FID better than real images",
            f"Generated images have FID {number(fid)}, held-out real images {number(real)} at the same count. "
            "Possible causes: copies of training images, or held-out images of another kind.",
        )


def _beyond_real(metrics: Metrics) -> Iterator[Caveat]:
    pairs = (
        ("Label accuracy", metrics.label_accuracy, metrics.value("label_accuracy_real")),
        ("Caption adherence", metrics.caption_adherence, metrics.caption_adherence_ceiling),
    )
    for name, made, real in pairs:
        if is_measured(made) and is_measured(real) and made > real + CLEAR:
            yield Caveat(
                f"{name} above real images",
                f"{percent(made)} against {percent(real)}. Strong guidance exaggerates typical features, and copies "
                "score high: this does not prove better images.",
            )


def _judge(metrics: Metrics) -> Iterator[Caveat]:
    real = metrics.value("label_accuracy_real")
    if is_measured(real) and real < WEAK_JUDGE:
        yield Caveat(
            "Weak judge of the classes",
            f"The classifier recognizes {percent(real)} of held-out real images: label accuracy says little.",
        )


def _sizes(metrics: Metrics) -> Iterator[Caveat]:
    for warning in metrics.warnings:
        yield Caveat("Few images", warning)
    held_out = metrics.value("n_held_out")
    if is_measured(held_out) and held_out < FEW_HELD_OUT:
        yield Caveat(
            "Few held-out images",
            f"Every number of real images is computed from {number(int(held_out))} images and is coarse.",
        )


def _classes(report: ReportData) -> Iterator[Caveat]:
    missing = [row.class_name for row in report.classes if not row.n_generated]
    if missing:
        yield Caveat("Classes never generated", f"No images were requested for: {', '.join(missing)}.")
    few = [f"{row.class_name} ({row.n_generated})" for row in report.classes if 0 < row.n_generated < FEW_TO_JUDGE]
    if few:
        yield Caveat(
            "Few generated images in a class",
            f"Label accuracy weights all classes equally, but has few images in: {', '.join(few)}.",
        )
    unjudged = [row.class_name for row in report.classes if not row.n_held_out]
    if unjudged:
        yield Caveat("Classes not held out", f"No real images to compare with for: {', '.join(unjudged)}.")
    rare = [f"{row.class_name} ({row.n_reference})" for row in report.classes if row.n_reference < FEW_TO_LEARN]
    if rare:
        yield Caveat("Rare classes", f"Few training images in: {', '.join(rare)}.")


def _rejects(report: ReportData) -> Iterator[Caveat]:
    count = sum(row.count for row in report.rejects)
    if count:
        stages = ", ".join(dict.fromkeys(row.stage for row in report.rejects))
        yield Caveat("Rejected rows", f"{number(count)} rows were rejected by {stages}; the reasons are listed below.")


def _captions(report: ReportData, metrics: Metrics) -> Iterator[Caveat]:
    adherence = report.adherence
    if report.untrusted:
        yield Caveat(
            "Attributes left out of the captions",
            "The caption audit does not resolve these to be better than chance, so the model was not trained on them, "
            f"and adherence leaves them out: {'; '.join(report.untrusted.values())}.",
        )
    if adherence is None:
        if not metrics.attribute_judge and not report.untrusted:
            yield Caveat("Caption adherence not measured", "Attributes can be measured in dermoscopy images only.")
        return
    if metrics.provenance.captioner == "measured captions":
        yield Caveat(
            "Captions and their check use the same measurement",
            "The image analysis that wrote the captions also measures the generated images: "
            "adherence shows that its measurements are reproduced, not that a person would agree.",
        )
    blind = [
        row.name.replace("_", " ") for row in adherence.attributes if row.mentioned and row.ceiling <= row.shuffled
    ]
    if blind:
        yield Caveat(
            "Attributes that cannot be judged",
            f"Even real images agree with their captions no better than by chance in: {', '.join(blind)}.",
        )


def _features(metrics: Metrics) -> Iterator[Caveat]:
    if "inception" not in metrics.features.lower():
        yield Caveat(
            "Not Inception features",
            f"FID, KID, precision and recall use {metrics.features}: compare them with runs of the same features, not "
            "with published numbers.",
        )
