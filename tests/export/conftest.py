"""Checkpoints of three kinds, and an export."""

from pathlib import Path

import pytest

from tests.export.checkpoints import make_checkpoint
from vapray.export.folder import export_checkpoint


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    return {kind: make_checkpoint(root / kind, kind) for kind in ("diffusers", "tower", "class")}


@pytest.fixture
def exported(checkpoints, tmp_path) -> Path:
    export_checkpoint(str(checkpoints["diffusers"]), str(tmp_path / "model"), accept_unaudited=True)
    return tmp_path / "model"


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
