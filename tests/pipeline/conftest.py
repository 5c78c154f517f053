"""Copies of the small run, and the stages that a job says it ran."""

import shutil
from pathlib import Path

import pytest

STAGES = [
    "ingest",
    "caption",
    "caption_audit_sample",
    "audit",
    "bank",
    "autoencoder",
    "encode",
    "train",
    "sample",
    "evaluate",
]


@pytest.fixture
def run_copy(small_run, tmp_path) -> Path:
    root = tmp_path / "run"
    shutil.copytree(small_run, root)
    return root


def ran(done) -> list[str]:
    """The stages that did work."""
    assert done.returncode == 0, done.stdout + done.stderr
    return [stage for stage in STAGES if f"[{stage}] unchanged" not in done.stdout]
