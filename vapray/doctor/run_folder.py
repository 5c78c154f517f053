"""The run's folder: can it be written, is there room, who else is writing, what was left behind."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from rich.filesize import decimal

from vapray.config import Config
from vapray.doctor.findings import Finding, failed, ok, warning
from vapray.errors import DataError
from vapray.files import FileStore, is_temporary
from vapray.lease import live_holder
from vapray.stages import STAGES

__all__ = ["examine"]

LITTLE_ROOM_BYTES = 2_000_000_000


def examine(config: Config) -> Iterator[Finding]:
    """Writes one small file into ``run.root`` and removes it again, as well as the folder if it was not there."""
    files = FileStore(config.run.root)
    yield _writable(files)
    if files.is_local:
        yield _room(Path(files.path("")))
    yield from _writers(files)
    if files.is_local:
        yield from _leftovers(Path(files.path("")))


def _writable(files: FileStore) -> Finding:
    made = _missing_folders(Path(files.path(""))) if files.is_local else []
    name = f"doctor-{uuid.uuid4().hex}"
    try:
        first, second = files.create(name, b"doctor"), files.create(name, b"doctor")
        came_back = files.read(name) == b"doctor"
    except (DataError, OSError) as error:
        reason = str(error).split(". What was committed")[0]
        return failed("run.root", reason, "Choose another run.root, or mend its permissions.", 3)
    finally:
        _clean(files, name, made)
    if not (first and came_back) or second:
        advice = "Two runs could write one version at once. Use a store with conditional writes, or a local disk."
        return failed("run.root", f"{files.root}: a file can be created twice, or is not read back at once", advice, 3)
    return ok("run.root", f"{files.root} can be written" + (" (it will be made)" if made else ""))


def _clean(files: FileStore, name: str, made: list[Path]) -> None:
    try:
        files.remove(name)
        for folder in made:
            folder.rmdir()
    except (DataError, OSError):  # told by the check itself
        pass


def _missing_folders(root: Path) -> list[Path]:
    """Deepest first."""
    return [folder for folder in (root, *root.parents) if not os.path.exists(folder)]


def _room(root: Path) -> Finding:
    there = next(folder for folder in (root, *root.parents) if os.path.exists(folder))
    usage = shutil.disk_usage(there)
    found = f"{decimal(usage.free)} free of {decimal(usage.total)}"
    if usage.free < LITTLE_ROOM_BYTES:
        return warning("disk", found, "--dry-run says how much a run writes.")
    return ok("disk", found)


def _writers(files: FileStore) -> Iterator[Finding]:
    folders = [f"{stage.writes}/{name}" for stage in STAGES for name in files.names(stage.writes)]
    live = [f"{holder} writes {folder}" for folder in folders if (holder := live_holder(files, folder))]
    if live:
        advice = "A second run of the same stage is refused while it lives. Wait for it, or stop it."
        yield warning("writers", "; ".join(live), advice)
    else:
        yield ok("writers", "nobody is writing here")


def _leftovers(root: Path) -> Iterator[Finding]:
    """Temporary neighbours of files that a killed process did not finish; readers never look at them."""
    found = {}
    for folder, _, names in os.walk(root):
        for path in (os.path.join(folder, name) for name in names if is_temporary(name)):
            with contextlib.suppress(OSError):  # a living writer has renamed it since
                found[path] = os.path.getsize(path)
    if found:
        advice = "They were left by killed processes and are never read. Remove them while no run is writing."
        yield warning(
            "leftovers",
            f"{len(found)} temporary files, {decimal(sum(found.values()))}, such as {next(iter(found))}",
            advice,
        )
