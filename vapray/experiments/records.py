"""What a finished run of an experiment leaves: one JSON file, from which alone the tables are made."""

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vapray.config import Config
from vapray.config.dotted import leaves, value_at
from vapray.errors import DataError
from vapray.experiments.description import slug
from vapray.files import FileStore
from vapray.stages import STAGES

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
        """Of its record, below the experiment's results."""
        return f"{slug(self.row)}/{slug(self.measure)}-seed{self.seed}.json"


@dataclass(frozen=True)
class Record:
    """One run's numbers with what they rest on.

    Attributes:
        row: of the experiment.
        measure: of the experiment.
        seed: ``run.seed``.
        settings: every setting that decides a result, by dotted key; of a folder what it was measured with.
        metrics: what the last stage found; of ``evaluate`` it is ``metrics.json`` without times of stages.
        budget: parameters, forward_flops, steps, images (seen in training), train_seconds; empty where nothing was
            trained.
        outside: stage -> what it read besides tables and settings (weights, prompts, another run's captions), by a
            hash of the content.
    """

    row: str
    measure: str
    seed: int
    settings: Mapping[str, Any]
    metrics: Mapping[str, Any]
    budget: Mapping[str, float]
    outside: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def number(self, key: str) -> float:
        """Of ``metrics``, by its name there; NaN where it was not measured."""
        further = self.metrics.get("further", {})
        value = self.metrics.get(key, further.get(key))
        return math.nan if value is None else float(value)


def deciding_settings(config: Config, stages: Collection[str] = ALL_STAGES) -> dict[str, Any]:
    """Dotted key -> value of every setting that decides a result; where and how fast is left out.

    Of a file or folder of this machine that is its name.

    Args:
        config: the tree.
        stages: that a run walks through.
    """
    tree = config.model_dump(mode="json")
    del tree["data"]["root"]  # the dataset itself is what `ingest` goes by
    walked = [stage for stage in STAGES if stage.name in stages]
    sections = dict.fromkeys(
        ["data", *(key for stage in walked for key in stage.sections if not key.startswith("data."))]
    )
    if "train" in stages:
        sections["train.init_from"] = None  # to the stage its content counts
    found = sorted(leaf for key in sections for leaf in leaves(key, value_at(tree, key)))
    return {key: Path(value).name if _is_place(value) else value for key, value in found}


def _is_place(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("/", "./", "../", "~"))


def read_record(files: FileStore, name: RunName) -> Record | None:
    """A finished run; None where there is none yet.

    Raises:
        DataError: the file is damaged, or was made by hand.
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
        raise DataError(f"{where}: no record of a run ({error}). Delete it; the run is made again.") from None
    if digest != _digest(record):
        raise DataError(f"{where}: was changed after it was written. Delete it; the run is made again.")
    return replace(record, row=name.row, measure=name.measure)  # a name may be spelt anew, while its file is the same


def write_record(files: FileStore, name: RunName, record: Record) -> None:
    """Whole or not at all."""
    tree = {**_tree(record), "sha256": _digest(record)}
    files.write(name.file, (json.dumps(tree, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())


def differing(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> Sequence[str]:
    """Keys whose values differ; a setting that is younger than the record had its default there.

    Settings that a record has and its experiment does not ask for decide nothing, unless there are no such settings.
    """
    defaults, as_read = (json.loads(json.dumps(one)) for one in (deciding_settings(Config()), asked))
    gone = recorded.keys() - defaults.keys() - as_read.keys()
    return sorted(gone | {key for key in as_read if recorded.get(key, defaults.get(key)) != as_read[key]})


def _digest(record: Record) -> str:
    return hashlib.sha256(json.dumps(_tree(record), sort_keys=True).encode()).hexdigest()


def _tree(record: Record) -> dict[str, Any]:
    """As JSON has it; records that are older than ``outside`` have none."""
    tree = asdict(record)
    if not record.outside:
        del tree["outside"]
    return tree
