"""Runs that were never made: their tables, and metrics shared with the tests of the evaluation."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.evaluation.conftest import metrics
from vapray.evaluation.metrics import Metrics
from vapray.store.run_store import Store
from vapray.store.tables import TABLES, build_part
from vapray.store.version import Version, fingerprint

__all__ = ["WriteRun", "metrics", "write_run"]


WriteRun = Callable[..., str]
SETTINGS = {"guidance_scale": 2.5, "n_images": 4}


def png(value: int) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), value, np.uint8)).save(encoded, "PNG")
    return encoded.getvalue()


def sealed(store: Store, table: str, stage: str, rows: list[dict[str, Any]], **card: Any) -> Version:
    sections, inputs = card.get("sections", {}), card.get("inputs", {})
    version = store.version(table, fingerprint(stage, 1, sections, inputs))
    version.write_part(build_part(TABLES[table], rows))
    version.seal(
        stage=stage,
        sections=sections,
        inputs=inputs,
        seconds=1.0,
        versions={"vapray": "0.1.0"},
        notes=card.get("notes", {}),
    )
    return version


@pytest.fixture
def write_run(tmp_path: Path, metrics: Metrics) -> WriteRun:
    """Writes the tables and the report that comparing reads: images, samples, the evaluation."""

    def write(
        name: str,
        *,
        numbers: dict[str, Any] | None = None,
        classes: tuple[str, ...] = ("NV", "MEL"),
        dataset: str = "drawn",
        place: str = "here",
        sample: dict[str, Any] | None = None,
        seeds: tuple[int, ...] = (1, 2),
        publish: bool = True,
    ) -> str:
        root = str(tmp_path / name)
        store = Store(root)
        row = {
            "image_id": "a",
            "label": 0,
            "split": "train",
            "class": classes[0],
            "path": "gone.png",
            "sha256": dataset,
        }
        images = sealed(
            store,
            "images",
            "ingest",
            [row],
            inputs={"dataset": f"{dataset} in {place}"},
            notes={"class_names": list(classes)},
        )
        drawn = [
            {"sample_id": f"generated-{seed}-{label}", "arm": "generated", "label": label, "class": class_name}
            | {"caption": f"<script>{class_name}</script>", "seed": seed, "png": png(40 * seed)}
            for label, class_name in enumerate(classes)
            for seed in seeds
        ]
        samples = sealed(store, "samples", "sample", drawn, sections={"sample": SETTINGS | (sample or {})})
        hashes = {one.table: one.require_manifest().content_hash for one in (images, samples)}
        found = sealed(store, "measurements", "evaluate", [], inputs=hashes | {"prompts": "p"})
        written = replace(metrics, **(numbers or {})).to_json().encode()
        found.files.write(f"{found.folder}/files/report/metrics.json", written)
        if publish:
            store.files.write("report/metrics.json", written)
        return root

    return write
