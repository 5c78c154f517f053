"""An export knows its own files: SHA256SUMS, in the format of the command ``sha256sum``.

Loading compares them when the Python files of the folder have been imported already, so that catches accidents, such as
a copy cut short, and no tampering. ``sha256sum -c SHA256SUMS`` before loading is the check that runs none of them;
against somebody who can change SHA256SUMS too, only sums from another place help.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from vapray.errors import CheckpointError

__all__ = ["CARD_FILE", "SUMS_FILE", "changed_files", "listed_files", "refuse_changed_files", "sums_of"]

SUMS_FILE = "SHA256SUMS"
CARD_FILE = "README.md"
"""The model card, which its owner completes."""


def sums_of(contents: Mapping[str, bytes]) -> bytes:
    """The file for these files, by path below the folder."""
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(contents.items())]
    return "".join(lines).encode()


def changed_files(folder: Path) -> list[str]:
    """The files of SHA256SUMS that lie there with another content; none without a SHA256SUMS.

    Raises:
        CheckpointError: SHA256SUMS cannot be read.
    """
    return [
        name
        for name, digest in _listed(folder).items()
        if (folder / name).is_file() and _sha256(folder / name) != digest
    ]


def listed_files(folder: Path) -> set[str]:
    """The files that SHA256SUMS names; errors as of ``changed_files``."""
    return set(_listed(folder))


def refuse_changed_files(folder: Path) -> None:
    """Refuse an export whose files are not those that were written, by accident; the model card may be another.

    Raises:
        CheckpointError: names them.
    """
    if changed := [name for name in changed_files(folder) if name != CARD_FILE]:
        raise CheckpointError(
            f"{folder}: {', '.join(changed)}: changed since the export (sha256 differs from {SUMS_FILE}). Copy the "
            f"folder or export again; for a change on purpose, remove its line from {SUMS_FILE}."
        )


def _listed(folder: Path) -> dict[str, str]:
    """sha256 by file name."""
    sums = folder / SUMS_FILE
    if not sums.is_file():
        return {}
    try:
        lines = [line.split("  ", 1) for line in sums.read_text(encoding="utf-8").splitlines()]
        return {name: digest for digest, name in lines}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{sums}: damaged ({error}). Export again, or copy the folder again.") from None


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
