"""The run that nothing disturbed, copies of it that still have one stage to do, and what differs in them afterwards."""

import hashlib
import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from vapray.pipeline.stages import STAGES
from vapray.store.manifest import Manifest
from vapray.store.run_store import Store
from vapray.store.version import Version

__all__ = ["Difference", "UnbrokenRun"]

TABLES_OF = {stage.name: stage.writes for stage in STAGES}
OWN_FOLDERS = {"steps", "ray_train", "tensorboard"}
TIMED_NOTES = {"curve", "loss_curve", "sha256"}  # a checkpoint's digest covers its curve, which holds speeds


@dataclass(frozen=True)
class Difference:
    """Between a table and the same table of the unbroken run; all zero or empty where nothing was lost."""

    lost: int
    duplicated: int
    differing: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.lost or self.duplicated or self.differing)


class UnbrokenRun:
    """A finished run below ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def manifest(self, stage: str) -> Manifest:
        """Of the stage's only version."""
        manifest = Store(str(self.root)).latest(TABLES_OF[stage])
        assert manifest is not None, f"{self.root}: {stage} is not finished"
        return manifest

    def version(self, stage: str, root: Path | None = None) -> Version:
        """The stage's version here, or in a copy."""
        return Store(str(root or self.root)).version(TABLES_OF[stage], self.manifest(stage).fingerprint)

    def copy_before(self, stage: str, root: Path) -> Version:
        """Copy all that the stages before ``stage`` have made; the version that it is about to fill."""
        names = [other.name for other in STAGES]
        for name in names[: names.index(stage)]:
            shutil.copytree(self.root / TABLES_OF[name], root / TABLES_OF[name])
        root.mkdir(exist_ok=True)
        return self.version(stage, root)

    def commit_late(self, stage: str, version: Version, number: int) -> None:
        """Commit a part as a worker would whose driver is long dead."""
        whole = self.version(stage)
        names = whole.part_names()
        rows = whole.read_part(names[number % len(names)])
        for row in rows.to_pylist() if stage == "sample" else ():  # a sample's picture is written before its row
            name = f"files/images/{row['arm']}/{row['class']}/{row['sample_id']}.png"
            version.files.write(f"{version.folder}/{name}", row["png"])
        version.write_part(rows)

    def difference(self, stage: str, version: Version) -> Difference:
        """What the stage has made in a copy, against what it made undisturbed."""
        manifest, wanted = version.manifest(), self.manifest(stage)
        if manifest is None:
            return Difference(wanted.rows, 0, ("not sealed",))
        here, there = _rows(version), _rows(self.version(stage))
        keys = Counter(_keys(version))
        differing = [key for key in here.keys() | there.keys() if here.get(key) != there.get(key)]
        differing += [name for name in ("rows", "rejects", "sections", "inputs") if _field(manifest, wanted, name)]
        differing += [f"notes: {name}" for name in _untimed(wanted.notes, manifest.notes)]
        differing += [f"file {name}" for name in _different_files(self._folder(stage), self._folder(stage, version))]
        return Difference(len(there.keys() - keys.keys()), sum(keys.values()) - len(keys), tuple(sorted(differing)))

    def _folder(self, stage: str, version: Version | None = None) -> Path:
        return Path((version or self.version(stage)).uri) / "files"


def _field(one: Manifest, other: Manifest, name: str) -> bool:
    return bool(getattr(one, name) != getattr(other, name))


def _keys(version: Version) -> list[str]:
    """Of all rows of all listed parts, repeated where a key is in two."""
    return [key for name in version.part_names() for key in version.read_part(name).column(0).to_pylist()]


def _rows(version: Version) -> dict[str, dict[str, Any]]:
    rows: pa.Table = version.read(rejects=True) if version.part_names() else pa.table({"key": []})
    return {next(iter(row.values())): row for row in rows.to_pylist()}


def _untimed(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [name for name in one.keys() | other.keys() if name not in TIMED_NOTES and one.get(name) != other.get(name)]


def _different_files(one: Path, other: Path) -> list[str]:
    here, there = _digests(one), _digests(other)
    return [name for name in here.keys() | there.keys() if here.get(name) != there.get(name)]


def _digests(folder: Path) -> dict[str, str]:
    """Digest of every file that a stage leaves for others; training's own states and measured times left out."""
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    kept = {name: path for name, path in names.items() if name.split("/")[0] not in OWN_FOLDERS}
    return {name: hashlib.sha256(_without_times(path)).hexdigest() for name, path in kept.items()}


def _without_times(path: Path) -> bytes:
    if path.name in ("metrics.json", "checkpoint.json", "audit.json"):
        card = json.loads(path.read_bytes())
        timed = {"stages", "curve", "config", "created"}
        return json.dumps({name: card[name] for name in sorted(card.keys() - timed)}).encode()
    return b"" if path.name in ("index.html", "manifest.json") else path.read_bytes()
