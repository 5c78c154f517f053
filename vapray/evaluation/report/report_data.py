"""Assembly of the report's contents from the tables of a run."""

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import yaml

from vapray.captioning.prompt_selection import configured_prompt_set
from vapray.captioning.statement_removal import remove_statements
from vapray.config import Config, modality_name
from vapray.data.decode import decode
from vapray.data.image_loading import load_square_image
from vapray.data.inventory import Inventory
from vapray.errors import ImageDecodeError
from vapray.evaluation.group_report import GroupReport
from vapray.evaluation.metrics import Metrics
from vapray.evaluation.reference_set import ReferenceSet
from vapray.evaluation.report.content import (
    CaptionExample,
    ClassExamples,
    ClassRow,
    Curve,
    GeneratedExample,
    Image,
    Neighbours,
    Rejects,
    ReportData,
)
from vapray.evaluation.report.shown_rows import (
    NEAREST_PAIRS,
    first_captions_of,
    first_of_class,
    shown_images,
    shown_samples,
)
from vapray.evaluation.summary import EvaluationSummary
from vapray.latents.description import describe_tuning
from vapray.memorisation.audit import Memorisation, Pair
from vapray.runtime.stage_context import StageContext
from vapray.store.tables import REJECT, TABLES
from vapray.store.version import Manifest, Version

__all__ = ["build_report_data"]

SPLITS = ("train", "validation", "test")
REASONS_OF_A_STAGE = 10
CURVES = {
    "loss": ("Denoising loss", "Mean squared error of the predicted noise; a network that predicts 0 has 1."),
    "reconstruction": ("Prototype reconstruction", "Error of the encoder's features rebuilt from class prototypes."),
    "gradient_norm": ("Gradient norm", "Norm before clipping."),
}
HEALTH = {
    "effective_rank": ("Effective rank", "Number of directions that the prototypes of a class span, at least 1."),
    "mean_pairwise_cosine": ("Cosine", "Between two prototypes of a class: 0 is orthogonal, 1 is the same direction."),
    "prototype_usage": (
        "Usage",
        "Codebook perplexity over the number of prototypes: 1 if all are used equally, near 0 if one is used alone.",
    ),
    "attention_entropy": (
        "Attention entropy",
        "Entropy of a token's attention over the prototypes: 1 is uniform, 0 selects one. It falls during learning.",
    ),
    "gradient_ratio": (
        "Gradient ratio",
        "Prototype gradient of the reconstruction loss over that of the denoising loss; far above 1, denoising has "
        "little influence on the prototypes.",
    ),
}
SHARES, SHARE = ("Cosine", "Usage", "Attention entropy"), (0.0, 1.0)
Rows = list[dict[str, Any]]


def build_report_data(
    run: StageContext,
    references: ReferenceSet,
    metrics: Metrics,
    findings: EvaluationSummary,
    memorisation: Memorisation,
    groups: GroupReport | None,
) -> ReportData:
    """Collect the images, texts and numbers of a finished run."""
    config, inputs, history = run.config, run.inputs, run.upstream
    names: list[str] = history["ingest"].notes["class_names"]
    unseen: Rows = references.samples.held_out_rows.to_pylist()
    generated = shown_samples(inputs["samples"], len(names), memorisation)
    first_captions = first_captions_of(inputs["captions"])
    by_id = shown_images(inputs["images"], len(names), unseen, generated, memorisation, first_captions)
    untrusted: dict[str, str] = history["bank"].notes.get("untrusted", {})
    frame = partial(_frame, by_id, config.data.image_size)
    return ReportData(
        title=f"{modality_name(config.data.modality, title=True)}: generated and real images",
        dataset=f"{config.data.source} {modality_name(config.data.modality)}, {config.data.image_size} pixels",
        created=time.strftime("%Y-%m-%d %H:%M"),
        metrics=metrics,
        adherence=findings.adherence,
        judge=findings.judge,
        splits={name: count for name in SPLITS if (count := references.samples.splits.get(name))},
        inventory=Inventory.from_dict(found) if (found := history["ingest"].notes.get("inventory")) else None,
        dataset_notes=history["ingest"].notes.get("dataset", ()),
        classes=_class_rows(names, unseen, findings),
        groups=groups,
        examples=[_class_examples(label, name, unseen, generated, frame) for label, name in enumerate(names)],
        memorisation=memorisation,
        neighbours={
            "pixels": _neighbours(memorisation.nearest_by_pixels, names, by_id, generated, frame),
            "features": _neighbours(memorisation.nearest_by_features, names, by_id, generated, frame),
        },
        curves=_curves(history),
        health=[
            replace(curve, scale=SHARE) if curve.name in SHARES else curve
            for curve in _of_points(history["train"].notes["curve"], HEALTH)
        ],
        caption_examples=_caption_examples(
            first_captions, by_id, names, history["caption"].notes["knowledge"], untrusted, config
        ),
        audited="audit" in history,
        untrusted=untrusted,
        rejects=_rejects(history, references.version, run.output),
        versions=history["train"].versions,
        configuration=yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False),
    )


def _frame(images: Mapping[str, dict[str, Any]], side: int, image_id: str) -> Image | None:
    """Read a real image; None if its file is gone, since the report does not require it."""
    try:
        return load_square_image(images[image_id]["path"], side) if image_id in images else None
    except ImageDecodeError:
        return None


def _class_rows(names: Sequence[str], unseen: Rows, findings: EvaluationSummary) -> list[ClassRow]:
    scores = {row.label: row for row in findings.classes}
    held_out = Counter(row["label"] for row in unseen)
    rows = []
    for label, name in enumerate(names):
        one = scores.get(label)
        counts = (one.n_reference, held_out[label], one.n_generated) if one else (0, held_out[label], 0)
        distances = (one.kid, one.fid) if one else (None, None)
        rows.append(ClassRow(name, *counts, *distances, findings.class_accuracy.get(label)))
    return rows


def _class_examples(label: int, name: str, unseen: Rows, generated: Rows, frame: Any) -> ClassExamples:
    real = [row["image_id"] for row in first_of_class(unseen, label)]
    shown = [picture for one in real if (picture := frame(one)) is not None]
    made = first_of_class(generated, label)
    return ClassExamples(
        name,
        shown,
        [GeneratedExample(decode(row["png"]), row["caption"], frame(row["source_image_id"])) for row in made],
    )


def _neighbours(
    nearest: Sequence[Pair], names: Sequence[str], images: Mapping[str, dict[str, Any]], generated: Rows, frame: Any
) -> list[Neighbours]:
    by_key = {f"sample/{row['sample_id']}": row for row in generated}
    pairs = []
    for pair in nearest[:NEAREST_PAIRS]:
        image_id = pair.training.removeprefix("image/")
        training, made = frame(image_id), by_key[pair.generated]
        if training is not None:
            owner = names[images[image_id]["label"]]
            pairs.append(Neighbours(decode(made["png"]), training, names[made["label"]], owner, pair.relative))
    return pairs


def _curves(history: Mapping[str, Manifest]) -> list[Curve]:
    learned, fitted = history["train"].notes, history["autoencoder"].notes
    curves = _of_points(learned["curve"], CURVES)
    kept = f" The weights of step {learned['ema_step']:,} were kept." if "ema_step" in learned else ""
    return [
        *curves[:1],
        *_series(learned.get("validations"), "Validation distance", f"Fréchet distance to the validation split.{kept}"),
        *curves[1:],
        *_series(fitted.get("loss_curve"), "Autoencoder loss", "Reconstruction loss on training images."),
        *_tuning(fitted.get("decoder_tuning")),
    ]


def _of_points(points: Sequence[Mapping[str, float]], names: Mapping[str, tuple[str, str]]) -> list[Curve]:
    """Build a curve for each name that occurs in the points of the learning curve."""
    found = {name: [(point["step"], point[name]) for point in points if name in point] for name in names}
    return [curve for name, pairs in found.items() for curve in _series(pairs, *names[name])]


def _tuning(tuning: Mapping[str, Any] | None) -> list[Curve]:
    if not tuning:
        return []
    return _series(tuning["loss_curve"], "Decoder tuning loss", f"The {describe_tuning(tuning)}.")


def _series(pairs: Sequence[tuple[float, float]] | None, title: str, meaning: str) -> list[Curve]:
    """Build a curve from pairs of step and value; empty without pairs."""
    return [Curve(title, meaning, *zip(*pairs, strict=True))] if pairs else []


def _caption_examples(
    first: Mapping[int, dict[str, Any]],
    images: Mapping[str, dict[str, Any]],
    names: Sequence[str],
    knowledge: Mapping[str, str],
    untrusted: Collection[str],
    config: Config,
) -> list[CaptionExample]:
    """Show the first captioned training image of each class."""
    prompt_set = configured_prompt_set(config)

    def trained_on(caption: str) -> str:
        removed = remove_statements(caption, prompt_set, untrusted)
        return removed.text if removed else ""

    return [
        CaptionExample(
            picture,
            names[label],
            row["impression"],
            knowledge.get(row["knowledge_id"], ""),
            trained_on(row["caption"]),
        )
        for label, row in sorted(first.items())
        if (picture := _frame(images, config.caption.image_size, row["image_id"])) is not None
    ]


def _rejects(history: Mapping[str, Manifest], references: Version, output: Version) -> list[Rejects]:
    """Collect the rejects of earlier stages, and of this stage, which has no manifest yet."""
    found = [*_reasons("evaluate", references), *_reasons("evaluate", output)]
    for stage, manifest in history.items():
        for table in TABLES if manifest.rejects else ():
            version = Version(output.files, table, manifest.fingerprint)
            if version.part_names():
                found = [*_reasons(stage, version), *found]
    return found


def _reasons(stage: str, version: Version) -> list[Rejects]:
    reasons = Counter(version.read([REJECT], rejects=True).column(REJECT).drop_null().to_pylist())
    return [Rejects(stage, reason, count) for reason, count in reasons.most_common(REASONS_OF_A_STAGE)]
