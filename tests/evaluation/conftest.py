"""One set of plausible numbers and one report, for the tests of the file and of the page."""

import numpy as np
import pytest

from vapray.data.inventory import Inventory, LeftOut
from vapray.evaluation.adherence import Adherence, AttributeAgreement
from vapray.evaluation.metrics import Metrics, Provenance, StageTime
from vapray.evaluation.report.content import (
    CaptionExample,
    ClassExamples,
    ClassRow,
    Curve,
    GeneratedExample,
    Neighbours,
    Rejects,
    ReportData,
)
from vapray.memorisation.audit import Memorisation, audit
from vapray.metrics.intervals import Interval

HOSTILE = "an oval <script>alert('x')</script> lesion & {{ 7 * 7 }} \"quoted\""


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(
        fid=14.83,
        kid=0.0412,
        inception_score=2.71,
        precision=0.612,
        recall=0.388,
        fid_untrained=412.7,
        fid_class_mean=58.3,
        fid_real_split=1.92,
        label_accuracy=0.744,
        caption_adherence=0.76,
        caption_adherence_shuffled=0.5,
        caption_adherence_ceiling=0.93,
        n_real=1200,
        n_generated=500,
        features="random convolutions (no semantics)",
        stages={"train": StageTime(121.7, 76800, 631.0), "sample": StageTime(4210.0, 500, 0.119)},
        provenance=Provenance(
            extractor="random convolutions (no semantics)",
            extractor_sha256="9f2c" * 16,
            extractor_width=96,
            resize=64,
            preparation="RGB, centred square crop, 48 pixels",
            classifier="small classifier trained on real training images",
            guidance_scale=1.0,
            guidance_convention="c + s (c - u)",
            num_inference_steps=50,
            ema=True,
            seed=0,
            label_prior="training",
            captioner="measured captions",
        ),
        intervals={"fid": Interval(13.6, 16.2, 0.95, "half-sampling")},
        further={"density": 0.71, "fid_real_reconstructed": 4.31},
        warnings=("80 generated images are fewer than the 96 features",),
    )


@pytest.fixture
def adherence() -> Adherence:
    return Adherence(
        adherence=0.76,
        shuffled=0.5,
        ceiling=0.93,
        ceiling_shuffled=0.49,
        relative=0.605,
        relative_interval=Interval(0.55, 0.66, 0.95, "bootstrap over images"),
        adherence_interval=Interval(0.74, 0.78, 0.95, "bootstrap over images"),
        attributes=(
            AttributeAgreement("heart_width", 300, 0.9, 0.8, 0.95),
            AttributeAgreement("symmetry", 0, float("nan"), float("nan"), float("nan")),
        ),
        caption_entropy_bits=8.2,
        caption_entropy_within_class_bits=5.9,
        images=298,
        images_left_out=2,
        real_images=200,
    )


@pytest.fixture
def memorisation() -> Memorisation:
    """Of pictures as new as held-out ones."""
    distances = {"held_out": np.linspace(0.5, 1, 200), "planted": np.zeros(12), "generated": np.linspace(0.5, 1, 100)}
    rows = [
        {"key": f"{name}/{number}/copied", "set": name}
        | {f"{measure}_neighbour": "image/1" for measure in ("pixel", "feature")}
        | {f"{measure}_distance": value for measure in ("pixel", "feature")}
        | {f"{measure}_knn_mean": 1.0 for measure in ("pixel", "feature")}
        for name, values in distances.items()
        for number, value in enumerate(values)
    ]
    return audit(rows, related_left_out=3, n_training=1200)


@pytest.fixture
def report(metrics: Metrics, adherence: Adherence, memorisation: Memorisation) -> ReportData:
    pictures = list(np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8))
    return ReportData(
        title="Phantoms <b>& more</b>",
        dataset="phantom dermoscopy, 16 pixels",
        created="2026-11-21",
        metrics=metrics,
        adherence=adherence,
        judge=None,
        splits={"train": 1200, "test": 340},
        inventory=Inventory(
            classes={"NV": {"train": 1140, "test": 300}, "VASC": {"train": 60, "test": 40}},
            groups=1480,
            files=1540,
            tables=1,
            left_out=[LeftOut("hidden", 2, "<i>.DS_Store</i>")],
            warnings={},
        ),
        dataset_notes=["Splits by name: <Test> is test."],
        classes=[ClassRow("NV", 640, 300, 300, 0.031, 17.2, 0.81), ClassRow("VASC", 60, 40, 1, None, None, None)],
        examples=[ClassExamples("NV", pictures[:2], [GeneratedExample(pictures[2], HOSTILE, pictures[0])])],
        memorisation=memorisation,
        neighbours={"pixels": [Neighbours(pictures[2], pictures[1], "NV", "VASC", 0.731)]},
        curves=[Curve("Loss", "Error of the noise.", range(50), [1 / (i + 1) for i in range(50)])],
        health=[Curve("Effective rank", "Directions of a class.", range(50), [9 - i / 10 for i in range(50)])],
        audited=True,
        untrusted={},
        caption_examples=[CaptionExample(pictures[3], "NV", "I see </dd> a spot.", "Known facts.", HOSTILE)],
        rejects=[Rejects("ingest", "cannot be decoded <i>in full</i>", 3)],
        versions={"vapray": "0.1.0", "python": "3.11.7"},
        configuration="train:\n  steps: 50 # <not a tag>\n",
    )
