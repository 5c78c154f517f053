"""Records of finished runs: one JSON file each, the only input of the tables."""

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vapray.config import Config
from vapray.config.caption_conflicts import unread_settings
from vapray.config.dotted import leaves, values_at
from vapray.config.renamed_keys import rename_dotted
from vapray.errors import DataError
from vapray.experiments.spec import slug
from vapray.pipeline.stages import STAGES
from vapray.store.files import FileStore

__all__ = ["Record", "RunName", "deciding_settings", "read_record", "write_record"]

ALL_STAGES = tuple(stage.name for stage in STAGES)


@dataclass(frozen=True)
class RunName:
    """One run of an experiment."""

    row: str
    measure: str
    seed: int

    @property
    def file(self) -> str:
        """Path of its record, relative to the experiment's results."""
        return f"{slug(self.row)}/{slug(self.measure)}-seed{self.seed}.json"


@dataclass(frozen=True)
class Record:
    """Numbers, settings and budget of one run.

    Attributes:
        row: name of the row.
        measure: name of the measure.
        seed: ``run.seed``.
        settings: every setting that decides a result, by dotted key; for a folder those of its measurement.
        metrics: numbers of the last stage; for ``evaluate``, ``metrics.json`` without times of stages.
        budget: parameters, forward_flops, steps, images (seen in training), train_seconds; empty if nothing was
            trained.
        outside: stage -> inputs besides tables and settings (weights, prompts, another run's captions), as content
            hashes.
    """

    row: str
    measure: str
    seed: int
    settings: Mapping[str, Any]
    metrics: Mapping[str, Any]
    budget: Mapping[str, float]
    outside: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def number(self, key: str) -> float:
        """Return a number of ``metrics`` by its name; NaN if it was not measured."""
        further = self.metrics.get("further", {})
        attributes = self.metrics.get("caption_adherence_attributes", {})
        adherence = {f"adherence_{name}": one["value"] for name, one in attributes.items()}
        value = self.metrics.get(key, further.get(key, adherence.get(key)))
        return math.nan if value is None else float(value)


def deciding_settings(config: Config, stages: Collection[str] = ALL_STAGES) -> dict[str, Any]:
    """Return dotted key -> value of every setting that decides a result; paths and speed are left out.

    The value of a file or folder of this machine is its name.

    Args:
        config: configuration of the run.
        stages: stages of the run.
    """
    tree = config.model_dump(mode="json")
    del tree["data"]["root"]  # `ingest` identifies the dataset by its content
    walked = [stage for stage in STAGES if stage.name in stages]
    sections = dict.fromkeys(
        ["data", *(key for stage in walked for key in stage.config_keys if not key.startswith("data."))]
    )
    if "train" in stages:
        sections["train.init_from"] = None  # the stage identifies it by its content
    found = sorted(leaf for key, value in values_at(tree, sections).items() for leaf in leaves(key, value))
    return {key: Path(value).name if _is_place(value) else value for key, value in found}


def _is_place(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("/", "./", "../", "~"))


def read_record(files: FileStore, name: RunName) -> Record | None:
    """Read the record of a finished run; None if there is none.

    Raises:
        DataError: the file is damaged or was edited.
    """
    data = files.read(name.file)
    if data is None:
        return None
    where = files.path(name.file)
    try:
        tree = json.loads(data)
        digest = tree.pop("sha256")
        record = Record(**tree)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{where}: not a record of a run ({error}). Fix: delete it and rerun the experiment.") from None
    if digest != _digest(record):
        raise DataError(f"{where}: changed after it was written. Fix: delete it and rerun the experiment.")
    return replace(record, row=name.row, measure=name.measure)  # names of one spelling share a file


def write_record(files: FileStore, name: RunName, record: Record) -> None:
    """Write a record atomically."""
    tree = {**_tree(record), "sha256": _digest(record)}
    files.write(name.file, (json.dumps(tree, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())


def changed_settings(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> Sequence[str]:
    """Return the keys whose values differ; a setting newer than the record had its default there.

    Settings of the record that the experiment does not use, and those that its captioner does not read, are ignored,
    unless they no longer exist.
    """
    defaults, as_read = (json.loads(json.dumps(one)) for one in (deciding_settings(Config()), asked))
    recorded = rename_dotted(recorded, source="record", warn=lambda _: None)
    gone = recorded.keys() - defaults.keys() - as_read.keys()
    compared = as_read.keys() - unread_settings(as_read.get("caption.captioner", ""))
    return sorted(gone | {key for key in compared if recorded.get(key, defaults.get(key)) != as_read[key]})


def _digest(record: Record) -> str:
    return hashlib.sha256(json.dumps(_tree(record), sort_keys=True).encode()).hexdigest()


def _tree(record: Record) -> dict[str, Any]:
    """Convert a record to JSON values; records older than ``outside`` have none."""
    tree = asdict(record)
    if not record.outside:
        del tree["outside"]
    return tree
