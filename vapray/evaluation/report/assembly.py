"""From the run's tables to what the report shows."""

import io
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from vapray.config import Config
from vapray.data.frames import read_frame
from vapray.evaluation.metrics import Metrics
from vapray.evaluation.report.content import (
    CaptionExample,
    ClassExamples,
    ClassRow,
    Curve,
    GeneratedPicture,
    ReportData,
)
from vapray.evaluation.summary import Findings
from vapray.store import Manifest, Version

__all__ = ["assemble"]

PICTURES_OF_A_CLASS = 6
CURVES = {
    "loss": ("Denoising loss", "Mean squared error of the predicted noise; 1 is knowing nothing."),
    "reconstruction": (
        "Prototype reconstruction",
        "How well class prototypes rebuild the encoder's features.",
    ),
    "effective_rank": ("Prototype effective rank", "How many directions the prototypes of a class span."),
    "gradient_norm": ("Gradient norm", "Before clipping."),
}


def assemble(
    config: Config,
    inputs: Mapping[str, Version],
    history: Mapping[str, Manifest],
    metrics: Metrics,
    findings: Findings,
) -> ReportData:
    """Collect pictures, texts and numbers of a finished run."""
    names: list[str] = history["ingest"].notes["class_names"]
    images = inputs["images"].read(["image_id", "label", "split", "path"]).to_pylist()
    samples = inputs["samples"].read(["sample_id", "arm", "label", "caption", "png"]).to_pylist()
    generated = [row for row in samples if row["arm"] == "generated"]
    return ReportData(
        title=f"{config.data.modality.replace('_', ' ').capitalize()}: generated beside real",
        dataset=f"{config.data.source} {config.data.modality}, {config.data.image_size} pixels",
        created=time.strftime("%Y-%m-%d %H:%M"),
        metrics=metrics,
        adherence=findings.adherence,
        classes=[_class_row(row.label, names, row, findings) for row in findings.classes],
        examples=[_class_examples(label, name, images, generated, config) for label, name in enumerate(names)],
        curves=_curves(history["train"].notes["curve"]),
        caption_examples=_caption_examples(inputs["captions"], images, names, history["caption"].notes, config),
        configuration=yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False),
    )


def _class_row(label: int, names: Sequence[str], row: Any, findings: Findings) -> ClassRow:
    accuracy = findings.class_accuracy.get(label)
    return ClassRow(names[label], row.n_reference, row.n_generated, row.kid, row.fid, accuracy)


def _class_examples(
    label: int, name: str, images: list[dict[str, Any]], generated: list[dict[str, Any]], config: Config
) -> ClassExamples:
    real = [row for row in images if row["label"] == label and row["split"] != "train"]
    made = [row for row in generated if row["label"] == label]
    return ClassExamples(
        name,
        [read_frame(row["path"], config.data.image_size) for row in real[:PICTURES_OF_A_CLASS]],
        [GeneratedPicture(_pixels(row["png"]), row["caption"]) for row in made[:PICTURES_OF_A_CLASS]],
    )


def _curves(points: Sequence[Mapping[str, float]]) -> list[Curve]:
    return [
        Curve(title, meaning, [point["step"] for point in points], [point[name] for point in points])
        for name, (title, meaning) in CURVES.items()
        if points and name in points[0]
    ]


def _caption_examples(
    captions: Version,
    images: list[dict[str, Any]],
    names: Sequence[str],
    notes: Mapping[str, Any],
    config: Config,
) -> list[CaptionExample]:
    """The first captioned training image of each class."""
    paths = {row["image_id"]: row["path"] for row in images}
    first: dict[int, dict[str, Any]] = {}
    for row in captions.read(["image_id", "label", "split", "t1", "t2_id", "caption"]).to_pylist():
        if row["split"] == "train":
            first.setdefault(row["label"], row)
    return [
        CaptionExample(
            read_frame(paths[row["image_id"]], config.caption.image_side),
            names[label],
            row["t1"],
            notes["knowledge"].get(row["t2_id"], ""),
            row["caption"],
        )
        for label, row in sorted(first.items())
    ]


def _pixels(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
