"""A small run, copied without some of its versions, and the trace of one of its samples."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from vapray.store.run_store import Store
from vapray.trace import Trace, trace_image

SAMPLE = "generated-000003"


@pytest.fixture(scope="session")
def root(small_run: Path) -> str:
    return str(small_run)


@pytest.fixture(scope="session")
def traced(root: str) -> Trace:
    """Trace of a generated image."""
    return trace_image(root, SAMPLE)


@pytest.fixture(scope="session")
def training_image(root: str) -> str:
    """Id of a training image that the caption audit drew."""
    rows = Store(root).finished("audit_measurements")[0].read(["image_id", "split"]).to_pylist()
    return next(row["image_id"] for row in rows if row["split"] == "train")


@pytest.fixture
def without(small_run: Path, tmp_path: Path) -> Callable[..., str]:
    """Copies the run without some tables; the images stay where they are."""

    def copy(*tables: str) -> str:
        left_out = shutil.ignore_patterns(*tables, "steps", "phantoms") if tables else None
        shutil.copytree(small_run, tmp_path / "copy", ignore=left_out)
        return str(tmp_path / "copy")

    return copy
