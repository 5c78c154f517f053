"""``vapray export``: a checkpoint becomes a diffusers folder."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vapray.errors import ConfigError
from vapray.export.checkpoint_files import component_files
from vapray.export.checksums import CARD_FILE, SUMS_FILE, changed_files, listed_files, sums_of
from vapray.export.loaded_checkpoint import open_checkpoint
from vapray.export.memorisation_gate import check_audits
from vapray.export.model_card import loading_lines, model_card

__all__ = ["Exported", "export_checkpoint"]


@dataclass(frozen=True)
class Exported:
    """What was written."""

    files: dict[str, int]
    """Bytes of each file, by path below the folder."""
    lines: list[str]
    """Python that loads it."""


def export_checkpoint(
    checkpoint: str,
    folder: str,
    *,
    weights: str = "ema",
    with_bank: bool = True,
    with_text_encoder: bool = False,
    accept_unaudited: bool = False,
) -> Exported:
    """Write a checkpoint as a diffusers folder that loads without vapray.

    Args:
        checkpoint: its ``final`` folder, as ``Sampler.load`` takes it: local path or URI.
        folder: local; new, empty, or an earlier export in which nothing was changed, which is replaced.
        weights: ema or raw.
        with_bank: whether the captions of the training images go along.
        with_text_encoder: whether the files of a text tower go along; the hashing encoder is code and always does.
        accept_unaudited: whether it may leave although no audit of its run says that it draws no copies of training
            pictures; the model card says so.

    Raises:
        DataError: its run's audit for copies was not passed, and ``accept_unaudited`` is false.
        CheckpointError: as of ``Sampler.load``.
        ConfigError: unknown weights, a folder that holds something else or cannot be written, no text tower there.
        BackendError: a text tower that is not to be had.
    """
    if weights not in ("ema", "raw"):
        raise ConfigError(f"weights = {weights!r}: wanted one of ema, raw.")
    _refuse_target(folder)
    opened = open_checkpoint(checkpoint, weights=weights, with_bank=with_bank, with_text_encoder=with_text_encoder)
    audited = check_audits(checkpoint, weights)
    if not accept_unaudited:
        audited.require(checkpoint)
    files = component_files(opened)
    files[CARD_FILE] = model_card(opened, audited, Path(folder).resolve().name).encode()
    files[SUMS_FILE] = sums_of(files)
    try:
        _replace(Path(folder), files)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror or error}). Give another folder.") from None
    sizes = {name: len(data) for name, data in sorted(files.items())}
    return Exported(sizes, loading_lines(opened, folder))


def _refuse_target(folder: str) -> None:
    """Refuse to write over what is no export, or one that somebody has worked on."""
    if "://" in folder:
        raise ConfigError(f"{folder}: wanted a local folder. Export into one and copy it there.")
    target = Path(folder)
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not target.is_dir():
        raise ConfigError(f"{folder}: a file is there. Give a folder that is new or empty.")
    if not (target / SUMS_FILE).is_file() or not (target / "model_index.json").is_file():
        raise ConfigError(f"{folder}: not empty, and no export of vapray. Give a folder that is new or empty.")
    there = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    if worked_on := sorted({*changed_files(target), *(there - listed_files(target) - {SUMS_FILE})}):
        raise ConfigError(
            f"{folder}: an export in which {', '.join(worked_on[:5])} was changed or added since. Move or delete it, "
            "or give another folder."
        )


def _replace(target: Path, files: Mapping[str, bytes]) -> None:
    """All files or none: written beside the folder, then put in its place; what was there is lost only after that."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    new, old = scratch / "new", scratch / "old"
    try:
        for name, data in files.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(data)
        if target.exists():
            os.rename(target, old)
        os.rename(new, target)
    finally:
        if old.exists() and not target.exists():
            _put_back(old, target)
        shutil.rmtree(scratch, ignore_errors=True)


def _put_back(old: Path, target: Path) -> None:
    try:
        os.rename(old, target)
    except OSError as error:
        raise ConfigError(
            f"{target}: cannot be written, and the earlier export cannot be put back ({error.strerror or error}). It "
            f"lies in {old}: move it by hand."
        ) from error
