"""The folder that an export goes to: an earlier export is replaced whole or not at all, all else is kept."""

import errno
import os
from pathlib import Path

import pytest

from tests.export.conftest import files_of
from vapray.errors import CheckpointError, ConfigError
from vapray.export.folder import export_checkpoint


def test_an_earlier_export_is_replaced_whole(exported, checkpoints):
    assert (exported / "vae").exists() and (exported / "model" / "captions.json").exists()
    export_checkpoint(str(checkpoints["class"]), str(exported), accept_unaudited=True)
    assert not (exported / "model" / "captions.json").exists()
    assert list(exported.parent.iterdir()) == [exported]


def refuse_renames(monkeypatch, error: BaseException, *refused: str) -> list[str]:
    """Let renames of what has such a name fail; what did fail is listed."""
    failed, rename = [], os.rename

    def renaming(source, destination):
        if Path(source).name in refused:
            failed.append(Path(source).name)
            raise error
        rename(source, destination)

    monkeypatch.setattr(os, "rename", renaming)
    return failed


@pytest.mark.parametrize(
    ("error", "told"), [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(errno.EACCES, "no"), ConfigError)]
)
def test_the_earlier_export_is_there_again_when_the_new_one_cannot_take_its_place(
    error, told, exported, checkpoints, monkeypatch
):
    before, failed = files_of(exported), refuse_renames(monkeypatch, error, "new")
    with pytest.raises(told):
        export_checkpoint(str(checkpoints["class"]), str(exported), accept_unaudited=True)
    assert failed == ["new"]
    assert files_of(exported) == before
    assert list(exported.parent.iterdir()) == [exported]


def test_an_earlier_export_that_cannot_be_put_back_is_kept_and_told(exported, checkpoints, monkeypatch):
    before, failed = files_of(exported), refuse_renames(monkeypatch, OSError(errno.EACCES, "no"), "new", "old")
    with pytest.raises(ConfigError, match=r"cannot be restored \(no\)\. Fix: move .*/old to") as told:
        export_checkpoint(str(checkpoints["class"]), str(exported), accept_unaudited=True)
    assert failed == ["new", "old"]
    (kept,) = exported.parent.glob(".model-*/old")
    assert str(kept) in str(told.value) and files_of(kept) == before


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (lambda folder: (folder / "README.md").write_text("license: mit"), r"README\.md changed, added or removed"),
        (lambda folder: (folder / "samples.png").touch(), r"samples\.png changed, added or removed"),
        (lambda folder: (folder / "SHA256SUMS").unlink(), r"not empty, and no export of vapray"),
        (lambda folder: (folder / "SHA256SUMS").write_text("?"), r"SHA256SUMS: damaged"),
    ],
)
def test_what_somebody_has_worked_on_is_never_written_over(work, said, exported, checkpoints):
    work(exported)
    before = files_of(exported)
    with pytest.raises((ConfigError, CheckpointError), match=said):
        export_checkpoint(str(checkpoints["diffusers"]), str(exported), accept_unaudited=True)
    assert files_of(exported) == before


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("s3://bucket/model", "not a local folder"),
        ("taken", "is a file"),
        ("taken/model", "cannot be written"),
    ],
)
def test_a_place_that_cannot_take_an_export_is_refused(folder, said, checkpoints, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("taken").touch()
    with pytest.raises(ConfigError, match=said):
        export_checkpoint(str(checkpoints["class"]), folder, accept_unaudited=True)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
