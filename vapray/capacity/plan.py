"""What a capacity estimate is asked: a YAML file, and ``key=value`` over it."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from vapray.config.section import Count, Positive, Section, Share
from vapray.errors import ConfigError
from vapray.strict_yaml import parse_yaml

__all__ = ["Limits", "Plan", "Prices", "load_plan"]

COMMAND_LINE = "command line"


class GpusOfStages(Section):
    """Where a stage has another number of GPUs than ``gpus``."""

    caption: Count | None = None
    bank: Count | None = None
    encode: Count | None = None
    train: Count | None = None
    sample: Count | None = None


class Prices(Section):
    """In one currency; the defaults are assumed, put in your own."""

    gpu_hour: Positive = 3.0
    """A GPU with its share of cores, memory and disk."""
    core_hour: Positive = 0.05
    """A core of a machine without GPUs, for stages that use none."""
    thousand_puts: Positive = 0.005
    """PUT and LIST requests."""
    thousand_gets: Positive = 0.0004
    """GET and HEAD requests."""
    gigabyte_month: Positive = 0.023
    """Stored."""


class Limits(Section):
    """What machines and the store can do at the most; the defaults are assumed, put in your own."""

    puts_per_second: Positive = 3500.0
    """Of the prefix that a stage writes to."""
    gets_per_second: Positive = 5500.0
    """Of the prefix that a stage reads."""
    node_gigabits: Positive = 100.0
    """Network of a node, a second."""
    volume_gigabytes: Positive = 10.0
    """What all nodes together read of the pictures, a second."""
    driver_memory_gb: Positive = 64.0
    """Of the pod that runs the job."""
    node_memory_gb: Positive = 1000.0
    """Of a node with GPUs."""
    node_disk_gb: Positive = 28000.0
    """Local, of a node with GPUs: training rows lie there."""


class Plan(Section):
    """What is to be done, and with what."""

    config: str | None = None
    """YAML of the run, such as jobs/configs/isic2018.yaml; None: the demo's settings."""
    settings: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Settings of the run that replace those of ``config``: section.key=value."""
    images: Count = 10_000
    """Labelled pictures over all splits."""
    pixels: Count = 270_000
    """Of one picture as it is stored."""
    classes: Count = 7
    """Of the dataset."""
    train_share: Share = 0.85
    """Of the pictures."""
    held_out_share: Share = 0.1
    """Of the pictures: what evaluation compares with."""
    steps: Count | None = None
    """Optimiser steps; None: the run's ``train.steps``."""
    batch_size: Count | None = None
    """Images of a step; None: the run's ``train.batch_size``."""
    generated: Annotated[int, Field(ge=2)] | None = None
    """Pictures to make; None: the run's ``sample.n_images``."""
    gpus: Count = 8
    """Of each stage that uses GPUs."""
    gpus_of: GpusOfStages = GpusOfStages()
    gpus_per_node: Count = 8
    cores_per_gpu: Count = 12
    spread: Annotated[float, Field(ge=0, le=3)] = 0.3
    """Of the lengths of items in a simulation: sigma of a lognormal distribution."""
    prices: Prices = Prices()
    limits: Limits = Limits()
    figures: dict[str, float] = Field(default_factory=dict)
    """Your own measurements in place of vapray's figures, by their names."""

    def gpus_for(self, stage: str) -> int:
        """GPUs of a stage."""
        return getattr(self.gpus_of, stage, None) or self.gpus


def load_plan(file: str | None, overrides: Sequence[str]) -> Plan:
    """Read a plan.

    Raises:
        ConfigError: all problems in one error: where, the key, the value seen, what is accepted.
    """
    tree: dict[str, Any] = _read(file) if file else {}
    for override in overrides:
        _apply(tree, override)
    try:
        return Plan.model_validate(tree)
    except ValidationError as error:
        where = f"{file} and {COMMAND_LINE}" if file and overrides else file or COMMAND_LINE
        problems = [_problem(found) for found in error.errors()]
        head = "" if len(problems) == 1 else f"{len(problems)} problems\n  "
        raise ConfigError(f"{where}: {head}" + "\n  ".join(problems)) from None


def _read(file: str) -> dict[str, Any]:
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}). Give a YAML file of a plan.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 at byte {error.start}. Save the file as UTF-8.") from None
    found, _ = parse_yaml(text, where=file)
    if not isinstance(found, dict | None):
        raise ConfigError(f"{file}: holds {str(found)[:40]!r}, wanted keys such as `images: 1000000`.")
    return found or {}


def _apply(tree: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    *above, leaf = key.split(".")
    if not equals or not all((*above, leaf)):
        raise ConfigError(f"{COMMAND_LINE}: {override!r} is no setting. Write key=value, such as images=1000000.")
    for name in above:
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{COMMAND_LINE}: {override!r}: {name} is a value, not a section.")
    tree[leaf], _ = parse_yaml(value, where=f"{COMMAND_LINE}, {override!r}")


def _problem(found: Any) -> str:
    path = ".".join(str(part) for part in found["loc"])
    if found["type"] == "extra_forbidden":
        return f"unknown key {path}.{_nearest(found['loc'])}"
    wanted = str(found["msg"]).removeprefix("Input should be ")
    return f"{path} = {found['input']!r}: wanted {wanted}."


def _nearest(path: Sequence[str | int]) -> str:
    section: Any = Plan
    for name in path[:-1]:
        section = section.model_fields[name].annotation
    known = list(section.model_fields) if issubclass(section, BaseModel) else []
    close = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else f" Known: {', '.join(known)}."
