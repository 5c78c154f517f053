"""Description of an experiment, read from a YAML file.

A file may have ``datasets``: for each data set the parts that differ, merged key by key over the shared ones.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from vapray.config.renamed_keys import EXPERIMENT_KEYS, apply_renamed_keys, rename_dotted, warn_once
from vapray.config.section import ConfigSection, NonNegativeInt
from vapray.config.strict_yaml import parse_yaml
from vapray.config.validation_errors import validate
from vapray.errors import ConfigError
from vapray.experiments.results import OUTCOMES, FinalStage

__all__ = ["Contrast", "Experiment", "Row", "read_experiment", "slug"]

MEASURED_ON_REAL_IMAGES = ("fid", "kid")
Settings = dict[str, Any]
"""Dotted key -> value, as on the command line."""


class Row(ConfigSection):
    """A row of the table: settings of its own, or a folder of images from another generator."""

    settings: Settings = Field(default_factory=dict)
    """Settings of the row, over those of the experiment."""
    folder: str | None = None
    """Folder of images from another generator, subfolders included; measured against the real ones, once."""
    paper: dict[str, float] = Field(default_factory=dict)
    """Number -> value in the paper."""
    note: str = ""
    """Note under the table."""


class Contrast(ConfigSection):
    """Paired comparison of two arms: does the treatment differ from the baseline?"""

    baseline: str
    treatment: str
    metric: str = "kid"
    """Number to compare: a key of ``METRIC_SPECS``, or a number of the last stage."""
    primary: bool = True
    """Part of Holm's correction; other contrasts are reported uncorrected."""
    equivalence_margin: Annotated[float, Field(gt=0)] | None = None
    """Arms are equivalent if the interval of the first measure lies within this share of the baseline's excess over the
    held-out real images, for numbers that are measured on these, such as fid; None: not asked."""

    @property
    def floor(self) -> str:
        """Number of held-out real images."""
        return f"{self.metric}_real_split"


class Experiment(ConfigSection):
    """Content of the file, merged for one data set."""

    title: str
    question: str
    config: str | None = None
    """Config file of all runs; None: the defaults of all settings."""
    settings: Settings = Field(default_factory=dict)
    """Settings of all runs, over those of ``config``."""
    stage: FinalStage = "evaluate"
    """Last stage of a run; its numbers fill the table."""
    seeds: Annotated[tuple[NonNegativeInt, ...], Field(strict=False, min_length=1)] = (0,)
    """``run.seed`` of each repetition. Rows with the same seed share order, noise and first weights where they can."""
    evaluators: Annotated[dict[str, Settings], Field(min_length=1, default_factory=lambda: {"default": {}})]
    """Name -> settings of ``evaluate``: every run is measured by each. A resolved contrast has one sign in all."""
    arms: Annotated[dict[str, Row], Field(min_length=1)]
    metrics: Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = (
        "fid", "kid", "inception_score", "precision", "recall",
    )  # fmt: skip
    """Numbers in the columns."""
    contrasts: Annotated[tuple[Contrast, ...], Field(strict=False)] = ()
    status: Literal["exploratory", "preregistered"] = "exploratory"
    """preregistered: the file was committed before the first of its results."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        checks = (self._contrast_problems, self._seed_problems, self._number_problems, self._row_problems)
        if problems := [problem for check in checks for problem in check()]:
            raise ValueError("; ".join(problems))
        return self

    def _contrast_problems(self) -> Iterator[str]:
        for name in (name for contrast in self.contrasts for name in (contrast.baseline, contrast.treatment)):
            if name not in self.arms:
                yield f"contrasts: unknown arm {name!r}; arms: {', '.join(self.arms)}"
            elif self.arms[name].folder:
                yield f"contrasts: {name!r} is a folder and has no seeds to pair"
        for contrast in self.contrasts:
            if contrast.equivalence_margin and contrast.metric not in MEASURED_ON_REAL_IMAGES:
                yield (
                    f"contrasts: {contrast.metric} is not measured on held-out real images, so it has no "
                    f"equivalence_margin; {' and '.join(MEASURED_ON_REAL_IMAGES)} have one"
                )

    def _seed_problems(self) -> Iterator[str]:
        for place, settings in self._places_of_settings():
            if "run.seed" in settings:
                yield f"{place}: run.seed is set by `seeds`; remove it"
        if len(set(self.seeds)) < len(self.seeds):
            yield f"seeds: each seed has to be unique: {', '.join(map(str, self.seeds))}"

    def _number_problems(self) -> Iterator[str]:
        outcome = OUTCOMES[self.stage]
        for number in self.all_numbers:
            if outcome.name(number) is None:
                yield f"unknown metric {number!r}; known: {outcome.known}"

    def _row_problems(self) -> Iterator[str]:
        for names in (self.arms, self.evaluators):
            if len({slug(name) for name in names}) < len(names) or not all(map(slug, names)):
                yield f"names have to differ in letters and digits, because they name files: {', '.join(names)}"
        for name, row in self.arms.items():
            if row.folder and row.settings:
                yield f"arms.{name}: a folder has no settings; remove one of the two"
            if row.folder and self.stage != "evaluate":
                yield f"arms.{name}: a folder of images can be evaluated only, and the stage is {self.stage}"

    def _places_of_settings(self) -> Iterator[tuple[str, Settings]]:
        yield "settings", self.settings
        yield from ((f"arms.{name}.settings", row.settings) for name, row in self.arms.items())
        yield from ((f"evaluators.{name}", settings) for name, settings in self.evaluators.items())

    @property
    def all_numbers(self) -> list[str]:
        """Numbers of columns, contrasts and the paper, each once."""
        of_paper = (number for row in self.arms.values() for number in row.paper)
        return list(dict.fromkeys([*self.metrics, *(contrast.metric for contrast in self.contrasts), *of_paper]))

    @property
    def varied(self) -> set[str]:
        """Setting keys in which runs differ."""
        of_runs = [*(row.settings for row in self.arms.values()), *self.evaluators.values()]
        return {"run.seed"}.union(*of_runs)

    def overrides(self, row: str, measure: str, seed: int) -> list[str]:
        """Overrides of one run, for ``vapray.config.loader.load_config``."""
        merged: Mapping[str, Any] = {
            **self.settings,
            **self.arms[row].settings,
            **self.evaluators[measure],
            "run.seed": seed,
        }
        return [f"{key}={json.dumps(value)}" for key, value in merged.items()]


def slug(name: str) -> str:
    """Convert a name to one for files."""
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
        hint = f" Known: {known}." if known else ""
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).{hint}") from None
    tree, _ = parse_yaml(text, where=path)
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: not an experiment: expected title, question and arms.")
    tree = _renamed(_for_dataset(tree, dataset, path), path)
    return validate(Experiment, tree, source=path)


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


def _renamed(tree: dict[str, Any], path: str) -> dict[str, Any]:
    """Replace the old names of keys, settings and values."""
    tree = apply_renamed_keys(tree, EXPERIMENT_KEYS, source=path, warn=warn_once)
    arms, evaluators = tree.get("arms"), tree.get("evaluators")
    holders = [tree, *(arms.values() if isinstance(arms, dict) else [])]
    places = [(holder, "settings") for holder in holders if isinstance(holder, dict)]
    places += [(evaluators, name) for name in evaluators] if isinstance(evaluators, dict) else []
    for holder, name in places:
        if isinstance(settings := holder.get(name), dict) and all(isinstance(key, str) for key in settings):
            holder[name] = rename_dotted(settings, source=path)
    return tree


def _merged(shared: Any, own: Any) -> Any:
    """Merge mappings key by key; any other value of ``own`` replaces the shared one."""
    if not isinstance(shared, dict) or not isinstance(own, dict):
        return own
    return shared | {key: _merged(shared.get(key), value) for key, value in own.items()}
