"""The run's folder: can it be written, is there room, who else is writing, what was left behind."""

import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from rich.filesize import decimal

from vapray.config import Config
from vapray.doctor.findings import Finding, failed, ok, warning
from vapray.errors import DataError
from vapray.files import FileStore
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
    return [folder for folder in (root, *root.parents) if not folder.exists()]


def _room(root: Path) -> Finding:
    there = next(folder for folder in (root, *root.parents) if folder.exists())
    usage = shutil.disk_usage(there)
    found = f"{decimal(usage.free)} free of {decimal(usage.total)}"
    if usage.free < LITTLE_ROOM_BYTES:
        return warning("disk", found, "--dry-run says how much a run writes.")
    return ok("disk", found)


def _writers(files: FileStore) -> Iterator[Finding]:
    live = [
        said for stage in STAGES for name in files.names(stage.writes) if (said := _holder(files, stage.writes, name))
    ]
    if live:
        advice = "A second run of the same stage is refused while it lives. Wait for it, or stop it."
        yield warning("writers", "; ".join(live), advice)
    else:
        yield ok("writers", "nobody is writing here")


def _holder(files: FileStore, table: str, version: str) -> str | None:
    leases = [name for name in files.names(f"{table}/{version}") if name.startswith("lease-")]
    try:
        card = json.loads(files.read(f"{table}/{version}/{leases[-1]}") or b"{}") if leases else {}
    except ValueError:
        return None
    if card.get("expires", 0) <= time.time():
        return None
    return f"process {card.get('pid')} on {card.get('host')} writes {table}/{version}"


def _leftovers(root: Path) -> Iterator[Finding]:
    """Temporary neighbours of files that a killed process did not finish; readers never look at them."""
    found, size = [], 0
    for folder, _, names in os.walk(root):
        for name in names:
            if name.startswith(".") and name.count(".") >= 2 and len(name.rsplit(".", 1)[-1]) == 32:
                found.append(os.path.join(folder, name))
                size += os.path.getsize(found[-1])
    if found:
        advice = "They were left by killed processes and are never read. Remove them while no run is writing."
        yield warning("leftovers", f"{len(found)} temporary files, {decimal(size)}, such as {found[0]}", advice)
