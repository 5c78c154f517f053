"""Outcomes of runs: the numbers of the last stage, by the names in experiment files and tables."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from vapray.captioning.prompt_selection import configured_prompt_set
from vapray.compare.lineage import REPORT
from vapray.config import Config
from vapray.errors import DataError
from vapray.evaluation.metric_specs import METRIC_SPECS
from vapray.evaluation.metrics import Metrics
from vapray.store.version import Version

__all__ = ["OUTCOMES", "FinalStage", "ResultReader"]

FinalStage = Literal["evaluate", "downstream", "audit"]
Numbers = dict[str, Any]


class ResultReader(ABC):
    """Numbers of one last stage.

    Attributes:
        stages: stages of a run, in order.
        table: table whose files hold the numbers.
        known: names of the numbers, for error messages.
    """

    stages: tuple[str, ...]
    table: str
    known: str

    @abstractmethod
    def name(self, number: str) -> str | None:
        """Return the head of a number's column; None for an unknown number."""

    @abstractmethod
    def read(self, version: Version) -> Numbers:
        """Read the numbers of a finished run."""

    @abstractmethod
    def describe(self, metrics: Mapping[str, Any]) -> str:
        """Describe the measurement, in a line under the table."""

    def validate(self, config: Config, numbers: Sequence[str]) -> str | None:
        """Return the conflict between a row's settings and the numbers; None if there is none."""
        return None


class _Evaluation(ResultReader):
    """Generated images compared with real ones."""

    stages = ("ingest", "caption", "bank", "autoencoder", "encode", "train", "sample", "evaluate")
    table = "measurements"
    _names: ClassVar = {spec.key: spec.name for spec in METRIC_SPECS}
    _of_attribute = re.compile(r"adherence_([a-z_]+)")
    known = ", ".join([*sorted(_names), "adherence_ATTRIBUTE"])

    def name(self, number: str) -> str | None:
        found = self._of_attribute.fullmatch(number)
        return f"{found[1].replace('_', ' ').capitalize()} adherence" if found else self._names.get(number)

    def read(self, version: Version) -> Numbers:
        """Read ``metrics.json`` without the times of stages."""
        path = f"{version.folder}/files/{REPORT}"
        metrics = Metrics.from_json(version.files.read(path) or b"", version.files.path(path)).to_dict()
        return {key: value for key, value in metrics.items() if key != "stages"}

    def validate(self, config: Config, numbers: Sequence[str]) -> str | None:
        return _unknown_attribute(config, numbers, self._of_attribute)

    def describe(self, metrics: Mapping[str, Any]) -> str:
        count, against = metrics["n_generated"], f"against {metrics['n_real']:,} training pictures"
        if (made := metrics.get("provenance")) is None:
            return f"{metrics['features']}, {count:,} pictures of the folder {against}."
        held_out = metrics["further"].get("n_held_out", count)
        caveat = "" if held_out == count else f" ({held_out:,} held out: FID falls with the number)"
        return (
            f"{made['extractor']} at {made['resize']} pixels, {count:,} generated {against}{caveat}; "
            f"{made['captioner']}; {made['preparation']}."
        )


class _Downstream(ResultReader):
    """Classifier trained with or without generated images: means over ``downstream.seeds``."""

    stages = (*_Evaluation.stages[:-1], "downstream")
    table = "downstream"
    known = "auc_at_SHARE, f1_at_SHARE, such as auc_at_0.01"
    _number = re.compile(r"(auc|f1)_at_(0\.\d*[1-9]|1)")
    _names: ClassVar = {"auc": "mAUC", "f1": "macro F1"}

    def name(self, number: str) -> str | None:
        found = self._number.fullmatch(number)
        return f"{self._names[found[1]]}, {100 * float(found[2]):g} % real" if found else None

    def read(self, version: Version) -> Numbers:
        record = _json(version, "downstream/downstream.json")
        if not record["rows"]:
            raise DataError(f"{version.uri}: no classifier could be trained.")
        scores = {
            f"{key}_at_{row['share']:g}": row[key]["value"] for row in record["rows"] for key in self._names
        }  # one network and arm: `validate`
        first = record["rows"][0]
        return scores | {name: first[name] for name in ("network", "arm", "steps", "n_synthetic", "seeds")} | {
            "regime": record["regime"], "test": record["test"],
        }  # fmt: skip

    def describe(self, metrics: Mapping[str, Any]) -> str:
        test = metrics["test"]
        return (
            f"means of {metrics['seeds']} {metrics['network']}, {metrics['steps']:,} steps each, tested on "
            f"{test['images']:,} real pictures of the {test['split']} split; {metrics['regime']}."
        )

    def validate(self, config: Config, numbers: Sequence[str]) -> str | None:
        for name in ("networks", "arms"):
            if len(getattr(config.downstream, name)) > 1:
                return f"downstream.{name}: an experiment's run has one. Fix: give each a row or a measure."
        shares = {f"{share:g}" for share in config.downstream.shares}
        for number in numbers:
            if (share := number.rpartition("_")[2]) not in shares:
                return f"no number {number}: {share} is not in downstream.shares."
        return None


class _Audit(ResultReader):
    """Captions compared with their images."""

    stages = ("ingest", "caption", "caption_audit_sample", "audit")
    table = "audits"
    known = "contradicted, by_chance, consistency, rejected, mentioned_ATTRIBUTE, contradicted_ATTRIBUTE"
    _names: ClassVar = {
        "contradicted": "Contradicted",
        "by_chance": "Contradicted by chance",
        "consistency": "Consistency",
        "rejected": "Rejected",
    }
    _of_attribute = re.compile(r"(?:mentioned|contradicted)_([a-z_]+)")

    def name(self, number: str) -> str | None:
        found = self._of_attribute.fullmatch(number)
        return (
            f"{found[1].replace('_', ' ').capitalize()} {number.partition('_')[0]}"
            if found
            else self._names.get(number)
        )

    def read(self, version: Version) -> Numbers:
        record = _json(version, "audit/audit.json")
        findings, consistency, rejects = record["findings"], record["consistency"], sum(record["rejects"].values())
        numbers: Numbers = {
            "contradicted": _value(findings["contradicted"]),
            "by_chance": findings["by_chance"],
            "consistency": consistency and consistency["overall"],
            "rejected": rejects / (rejects + record["captions"]),
        }
        for one in findings["attributes"]:
            for key in ("mentioned", "contradicted"):
                numbers[f"{key}_{one['name']}"] = _value(one[key])
        return numbers | {key: record[key] for key in ("captioner", "reference")} | {"captions": findings["captions"]}

    def validate(self, config: Config, numbers: Sequence[str]) -> str | None:
        return _unknown_attribute(config, numbers, self._of_attribute)

    def describe(self, metrics: Mapping[str, Any]) -> str:
        against = {"truth": "the truth of drawn pictures", "measurement": "what is measured in the picture"}
        reference = against.get(metrics["reference"], "nothing: no measurement independent of the captions exists")
        return f"{metrics['captions']:,} captions held against {reference}."


def _unknown_attribute(config: Config, numbers: Sequence[str], pattern: re.Pattern[str]) -> str | None:
    """Return the conflict of a number that ends with an attribute that the prompt set lacks."""
    attributes = configured_prompt_set(config).attributes
    for number in numbers:
        found = pattern.fullmatch(number)
        if found and found[1] not in attributes:
            return f"no number {number}: the attributes are {', '.join(attributes)}."
    return None


def _json(version: Version, name: str) -> Any:
    return json.loads(version.files.read(f"{version.folder}/files/{name}") or b"null")


def _value(rate: Mapping[str, Any] | None) -> float | None:
    return None if rate is None else rate["value"]


OUTCOMES: Mapping[str, ResultReader] = {"evaluate": _Evaluation(), "downstream": _Downstream(), "audit": _Audit()}
