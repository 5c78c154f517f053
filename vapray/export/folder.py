"""Export of a checkpoint as a diffusers folder: ``vapray export``."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vapray.data.origins import OriginSummary
from vapray.errors import CheckpointError, ConfigError, DataError
from vapray.export.checkpoint_files import component_files
from vapray.export.export_source import open_checkpoint
from vapray.export.memorisation_gate import check_audits
from vapray.export.model_card import loading_lines, model_card
from vapray.export.vap_diffusion import changed_files

__all__ = ["Exported", "export_checkpoint"]

CARD_FILE, SUMS_FILE = "README.md", "SHA256SUMS"


@dataclass(frozen=True)
class Exported:
    """Result of an export."""

    files: dict[str, int]
    """Size of each file in bytes, by path below the folder."""
    lines: list[str]
    """Python that loads the export."""
    origins: list[str]
    """Licences, sources and subjects of the training images."""


def export_checkpoint(
    checkpoint: str,
    folder: str,
    *,
    weights: str = "ema",
    with_bank: bool = True,
    with_text_encoder: bool = False,
    accept_unaudited: bool = False,
    accept_unknown_licences: bool = False,
) -> Exported:
    """Write a checkpoint as a diffusers folder that loads without vapray.

    Args:
        checkpoint: ``final`` folder of the checkpoint, as for ``Sampler.load``: local path or URI.
        folder: Local folder that is new, empty, or an unchanged earlier export, which is replaced.
        weights: ema or raw.
        with_bank: Export the captions of the training images.
        with_text_encoder: Export the files of a text tower; the hashing encoder is part of the code.
        accept_unaudited: Export without a passed audit for copies of training images; the model card states it.
        accept_unknown_licences: Export although the licence of a training image is unknown; the model card states it.

    Raises:
        DataError: no passed audit for copies, and ``accept_unaudited`` is false; or the licence of a training image is
            unknown, and ``accept_unknown_licences`` is false.
        CheckpointError: as for ``Sampler.load``.
        ConfigError: unknown weights, a folder with other content or without write access, or a text encoder that is
            missing or cannot be exported.
        BackendError: the text encoder is not available on this machine.
    """
    if weights not in ("ema", "raw"):
        raise ConfigError(f"weights = {weights!r}: expected one of ema, raw.")
    _refuse_target(folder)
    opened = open_checkpoint(checkpoint, weights=weights, with_bank=with_bank, with_text_encoder=with_text_encoder)
    audited = check_audits(checkpoint, weights)
    if not accept_unaudited:
        audited.require(checkpoint)
    if not accept_unknown_licences:
        _require_licences(checkpoint, opened.origins)
    files = component_files(opened)
    files[CARD_FILE] = model_card(opened, audited, Path(folder).resolve().name).encode()
    files[SUMS_FILE] = _checksums(files)
    try:
        _replace(Path(folder), files)
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be written ({error.strerror or error}). Fix: give another folder."
        ) from None
    sizes = {name: len(data) for name, data in sorted(files.items())}
    return Exported(sizes, loading_lines(opened, folder), list(opened.origins.lines()))


def _require_licences(checkpoint: str, origins: OriginSummary) -> None:
    if origins.has_unknown_licence:
        licences, sources, _ = origins.lines()
        raise DataError(
            f"{checkpoint}: {licences}; {sources}. Fix: give the licences in the table of the dataset or by "
            "data.licence, and run `python -m jobs.ingest` again in the run of the checkpoint; or give "
            "--accept-unknown-licences, which the model card states."
        )


def _refuse_target(folder: str) -> None:
    """Refuse to overwrite a folder that is no export, or an export that was edited."""
    if "://" in folder:
        raise ConfigError(f"{folder}: not a local folder. Fix: export into a local folder and copy it.")
    target = Path(folder)
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not target.is_dir():
        raise ConfigError(f"{folder}: is a file. Fix: give a new or empty folder.")
    if not (target / SUMS_FILE).is_file() or not (target / "model_index.json").is_file():
        raise ConfigError(f"{folder}: not empty, and no export of vapray. Fix: give a new or empty folder.")
    there = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()} - {SUMS_FILE}
    try:
        listed = {line.split("  ", 1)[1] for line in (target / SUMS_FILE).read_text().splitlines()}
        edited = sorted({*changed_files(target), *(there - listed)})
    except (ValueError, IndexError) as error:
        raise CheckpointError(f"{target / SUMS_FILE}: damaged ({error}). Fix: give another folder.") from None
    if edited:
        raise ConfigError(
            f"{folder}: {', '.join(edited[:5])} changed, added or removed since the export. Fix: move or delete the "
            "folder, or give another one."
        )


def _checksums(files: Mapping[str, bytes]) -> bytes:
    """Checksums in the format of ``sha256sum``, by path below the folder."""
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items())]
    return "".join(lines).encode()


def _replace(target: Path, files: Mapping[str, bytes]) -> None:
    """Write all files or none: next to the folder, then in its place; earlier content is removed last."""
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
            f"{target}: cannot be written, and the earlier export cannot be restored ({error.strerror or error}). Fix: "
            f"move {old} to {target}."
        ) from error
