"""Description of an experiment, read from a YAML file.

A file may have ``datasets``: for each data set the parts that differ, merged key by key over the shared ones.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from vapray.config.section import Natural, Section
from vapray.errors import ConfigError
from vapray.experiments.outcomes import OUTCOMES, LastStage
from vapray.strict_yaml import parse_yaml

__all__ = ["Contrast", "Experiment", "Row", "read_experiment", "slug"]

Settings = dict[str, Any]
"""Dotted key -> value, as on the command line."""


class Row(Section):
    """A row of the table: settings of its own, or a folder of pictures from elsewhere."""

    settings: Settings = Field(default_factory=dict)
    """Over those of the experiment."""
    folder: str | None = None
    """Pictures made by something else, in folders or not; measured against the real ones, once."""
    paper: dict[str, float] = Field(default_factory=dict)
    """Number -> what the paper reports."""
    note: str = ""
    """Stands under the table."""


class Contrast(Section):
    """A question to the table: does the second row differ from the first?"""

    first: str
    second: str
    number: str = "kid"
    """Of ``metrics.json``."""
    primary: bool = True
    """Counts in Holm's correction; others are told without one."""


class Experiment(Section):
    """The whole file."""

    title: str
    question: str
    config: str | None = None
    """Config file of all runs; None: the demo's."""
    settings: Settings = Field(default_factory=dict)
    """Of all runs, over the file's."""
    stage: LastStage = "evaluate"
    """That a run ends in, and whose numbers the table has."""
    seeds: Annotated[tuple[Natural, ...], Field(strict=False, min_length=1)] = (0,)
    """``run.seed`` of each repetition. Rows with the same seed share order, noise and first weights where they can."""
    measures: Annotated[dict[str, Settings], Field(min_length=1, default_factory=lambda: {"default": {}})]
    """Name -> settings of ``evaluate``: every run is measured by each. A contrast's sign has to agree in all."""
    rows: Annotated[dict[str, Row], Field(min_length=1)]
    numbers: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = (
        "fid", "kid", "inception_score", "precision", "recall",
    )  # fmt: skip
    """Columns."""
    contrasts: Annotated[tuple[Contrast, ...], Field(strict=False)] = ()
    status: Literal["exploratory", "preregistered"] = "exploratory"
    """preregistered: this file was committed before the first of its results."""

    @model_validator(mode="after")
    def _names_known(self) -> Self:
        if wrong := list(self._unknown_names()):
            raise ValueError("; ".join(wrong))
        return self

    def _unknown_names(self) -> Iterator[str]:
        for contrast in self.contrasts:
            for name in (contrast.first, contrast.second):
                if name not in self.rows:
                    yield f"contrasts: there is no row {name!r}; rows: {', '.join(self.rows)}"
                elif self.rows[name].folder:
                    yield f"contrasts: {name!r} is a folder and has no seeds to pair"
        for place, settings in self._places_of_settings():
            if "run.seed" in settings:
                yield f"{place}: run.seed is set by `seeds`; leave it out"
        if len(set(self.seeds)) < len(self.seeds):
            yield f"seeds: each stands once; a run made twice is no second one: {', '.join(map(str, self.seeds))}"
        outcome = OUTCOMES[self.stage]
        for number in self.all_numbers:
            if outcome.name(number) is None:
                yield f"there is no number {number!r}; known: {outcome.known}"
        for names in (self.rows, self.measures):
            if len({slug(name) for name in names}) < len(names) or not all(map(slug, names)):
                yield f"names have to differ in letters and digits, for files are named by them: {', '.join(names)}"
        for name, row in self.rows.items():
            if row.folder and row.settings:
                yield f"rows.{name}: a folder has no settings; leave one of the two out"
            if row.folder and self.stage != "evaluate":
                yield f"rows.{name}: a folder of pictures can be evaluated, and takes no part in {self.stage}"

    def _places_of_settings(self) -> Iterator[tuple[str, Settings]]:
        yield "settings", self.settings
        yield from ((f"rows.{name}.settings", row.settings) for name, row in self.rows.items())
        yield from ((f"measures.{name}", settings) for name, settings in self.measures.items())

    @property
    def all_numbers(self) -> list[str]:
        """Those of columns, of contrasts and of the paper, each once."""
        of_paper = (number for row in self.rows.values() for number in row.paper)
        return list(dict.fromkeys([*self.numbers, *(contrast.number for contrast in self.contrasts), *of_paper]))

    @property
    def varied(self) -> set[str]:
        """Keys in which runs differ."""
        of_runs = [*(row.settings for row in self.rows.values()), *self.measures.values()]
        return {"run.seed"}.union(*of_runs)

    def overrides(self, row: str, measure: str, seed: int) -> list[str]:
        """What ``vapray.config.file.load`` takes for one run."""
        merged: Mapping[str, Any] = {
            **self.settings,
            **self.rows[row].settings,
            **self.measures[measure],
            "run.seed": seed,
        }
        return [f"{key}={json.dumps(value)}" for key, value in merged.items()]


def slug(name: str) -> str:
    """A name as files bear it."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def read_experiment(path: str, dataset: str | None = None) -> Experiment:
    """Read an experiment from its file.

    Args:
        path: YAML file.
        dataset: key of the file's ``datasets``; None for a file without them.

    Raises:
        ConfigError: the file or the data set is missing, or the file is invalid; with every problem.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        known = ", ".join(sorted(map(str, Path("jobs/experiments").glob("*.yaml"))))
        hint = f" There are: {known}." if known else ""
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).{hint}") from None
    tree, _ = parse_yaml(text, where=path)
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: not an experiment: expected title, question and rows.")
    try:
        return Experiment.model_validate(_for_dataset(tree, dataset, path))
    except ValidationError as error:
        texts = [_told(found["loc"], found["type"], found["msg"]) for found in error.errors()]
        raise ConfigError(
            f"{path}: {texts[0]}" if len(texts) == 1 else "\n  ".join([f"{path}: {len(texts)} problems", *texts])
        ) from None


def _for_dataset(tree: dict[str, Any], dataset: str | None, path: str) -> dict[str, Any]:
    datasets = tree.pop("datasets", {})
    if not isinstance(datasets, dict):
        raise ConfigError(f"{path}: datasets: expected a mapping from data sets to settings.")
    if dataset in datasets:
        return _merged(tree, datasets[dataset])
    if datasets:
        problem = "none given" if dataset is None else f"unknown {dataset!r}"
        raise ConfigError(f"{path}: --dataset: {problem}. Fix: set it to one of {', '.join(datasets)}.")
    if dataset is not None:
        raise ConfigError(f"{path}: --dataset {dataset}: the file has no `datasets`. Fix: remove --dataset.")
    return tree


def _merged(shared: Any, own: Any) -> Any:
    """Merge mappings key by key; any other value of ``own`` replaces the shared one."""
    if not isinstance(shared, dict) or not isinstance(own, dict):
        return own
    return shared | {key: _merged(shared.get(key), value) for key, value in own.items()}


def _told(keys: Sequence[str | int], kind: str, message: str) -> str:
    """A problem in words of the file."""
    place, key = ".".join(map(str, keys)), str(keys[-1]) if keys else ""
    if kind == "missing":
        return f"{place}: is missing"
    if kind == "tuple_type":
        return f"{place}: wanted a list"
    if kind != "extra_forbidden":
        return f"{place}: {message.removeprefix('Value error, ')}".removeprefix(": ")
    if "." in key:
        return f"{place}: unknown key. Settings stand one level below, under `settings:`"
    known = (Row if keys[0] == "rows" else Contrast if keys[0] == "contrasts" else Experiment).model_fields
    near = get_close_matches(key, known, n=1, cutoff=0.5)
    return f"{place}: unknown key. " + (f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known)}")
