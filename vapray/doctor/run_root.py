"""Checks of the run root: write access, free space, active writers and leftover temporary files."""

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
from vapray.pipeline.stages import STAGES
from vapray.store.files import FileStore, is_temporary
from vapray.store.lease import live_holder

__all__ = ["check"]

MIN_FREE_BYTES = 2_000_000_000


def check(config: Config) -> Iterator[Finding]:
    """Write and remove one small file in ``run.root``; a folder that this creates is removed as well."""
    files = FileStore(config.run.root)
    yield _writable(files)
    if files.is_local:
        yield _free_space(Path(files.path("")))
    yield from _writers(files)
    if files.is_local:
        yield from _leftovers(Path(files.path("")))


def _writable(files: FileStore) -> Finding:
    created = _missing_folders(Path(files.path(""))) if files.is_local else []
    name = f"doctor-{uuid.uuid4().hex}"
    try:
        first, second = files.create_exclusive(name, b"doctor"), files.create_exclusive(name, b"doctor")
        is_readable = files.read(name) == b"doctor"
    except (DataError, OSError) as error:
        return failed("run.root", str(error), "Choose another run.root, or correct its permissions.", 3)
    finally:
        _clean(files, name, created)
    if not (first and is_readable) or second:
        advice = "Use a store with conditional writes, or a local disk: two runs could write one version at once."
        return failed("run.root", f"{files.root}: a file is created twice, or not readable after its write", advice, 3)
    return ok("run.root", f"{files.root} is writable" + (" (not created yet)" if created else ""))


def _clean(files: FileStore, name: str, created: list[Path]) -> None:
    try:
        files.remove(name)
        for folder in created:
            folder.rmdir()
    except (DataError, OSError):  # reported by the check itself
        pass


def _missing_folders(root: Path) -> list[Path]:
    """List the folders of a path that do not exist, the deepest first."""
    return [folder for folder in (root, *root.parents) if not os.path.exists(folder)]


def _free_space(root: Path) -> Finding:
    existing = next(folder for folder in (root, *root.parents) if os.path.exists(folder))
    usage = shutil.disk_usage(existing)
    found = f"{decimal(usage.free)} free of {decimal(usage.total)}"
    if usage.free < MIN_FREE_BYTES:
        return warning("disk", found, "Free space; --dry-run estimates how much a run writes.")
    return ok("disk", found)


def _writers(files: FileStore) -> Iterator[Finding]:
    folders = [f"{stage.writes}/{name}" for stage in STAGES for name in files.names(stage.writes)]
    live = [f"{holder} writes {folder}" for folder in folders if (holder := live_holder(files, folder))]
    if live:
        advice = "Wait for that run or stop it: another run of the same stage is refused meanwhile."
        yield warning("writers", "; ".join(live), advice)
    else:
        yield ok("writers", "no active run")


def _leftovers(root: Path) -> Iterator[Finding]:
    """Find the temporary files of killed processes; readers ignore them."""
    found = {}
    for folder, _, names in os.walk(root):
        for path in (os.path.join(folder, name) for name in names if is_temporary(name)):
            with contextlib.suppress(OSError):  # an active writer has renamed it
                found[path] = os.path.getsize(path)
    if found:
        summary = f"{len(found)} temporary files, {decimal(sum(found.values()))}, such as {next(iter(found))}"
        yield warning("leftovers", summary, "Remove these files of killed processes while no run is writing.")
