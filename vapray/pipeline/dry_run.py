"""``--dry-run``: the plan of a run, stage by stage.

It writes nothing, starts no Ray and imports no torch.
"""

import contextlib
import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vapray.config import Config
from vapray.data.forecast import count_images
from vapray.errors import DataError
from vapray.pipeline.runner import PipelineRunner, StageStatus
from vapray.pipeline.stages import STAGES, Stage, select_stages, tables_read
from vapray.runtime.forecast import Forecast, ForecastInputs, calibrated, remaining
from vapray.runtime.progress import Display
from vapray.store.tables import TABLES
from vapray.store.version import Manifest, Version
from vapray.training.forecast import committed_rows

__all__ = ["StagePlan", "plan_run"]


@dataclass(frozen=True)
class StagePlan:
    """Plan of one stage.

    Attributes:
        stage: Name of the stage.
        rows: Rows of the complete stage.
        done: Rows that are committed.
        forecast: Estimate of the remaining work; None for a finished stage.
        waits_for: Stages that must run first and are not requested.
        reasons: Reasons to run although an earlier version is finished.
    """

    stage: str
    rows: int
    done: int = 0
    forecast: Forecast | None = None
    waits_for: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """State of the stage, as text."""
        if self.waits_for:
            return f"waits for {', '.join(self.waits_for)}"
        if self.forecast is None:
            return "unchanged"
        return f"would continue: {self.done:,} of {self.rows:,} done" if self.done else "would run"


def plan_run(config: Config, names: Sequence[str] | None = None) -> list[StagePlan]:
    """Plan :func:`vapray.pipeline.runner.run_pipeline` with the same arguments.

    Args:
        config: Complete config.
        names: Stages to run; None for all that do not run on request only.

    Returns:
        One entry per requested stage, in order.

    Raises:
        ConfigError: as in the run.
        DataError: as in the run, for a missing dataset.
    """
    dry_run = _DryRun(config)
    plans = [dry_run.plan(stage, is_requested=requested) for stage, requested in select_stages(names).items()]
    return [plan for plan in plans if plan]


class _DryRun:
    def __init__(self, config: Config) -> None:
        self._config, self._runner = config, PipelineRunner(config, Display())
        self._rows: dict[str, int] = {}
        self._planned: set[str] = set()

    def plan(self, stage: Stage, *, is_requested: bool) -> StagePlan | None:
        status = self._runner.status(stage)
        if stage.name == "ingest":
            self._images = count_images(self._config, status.version if status.manifest else None)
        inputs = ForecastInputs(self._config, self._images, dict(self._rows))
        total = status.manifest or self._forecast(stage, status, inputs)
        self._rows[stage.writes] = total.rows
        if not is_requested:
            return None
        self._planned.add(stage.writes)
        if isinstance(total, Manifest):
            return StagePlan(stage.name, total.rows)
        done = _committed_rows(status.version, self._config)
        left = remaining(total, done)
        return StagePlan(stage.name, total.rows, done, left, tuple(self._waits_for(stage)), tuple(status.reasons))

    def _forecast(self, stage: Stage, status: StageStatus, inputs: ForecastInputs) -> Forecast:
        forecast = importlib.import_module(f"vapray.{stage.package}.forecast").forecast
        now: Forecast = forecast(inputs)
        last = status.last
        if last is None:
            return now
        then = ForecastInputs(_with_sections(self._config, last.sections), inputs.images, inputs.rows)
        return calibrated(now, forecast(then), last)

    def _waits_for(self, stage: Stage) -> Iterator[str]:
        tables = tables_read(stage, self._config)
        for other in STAGES:
            if other.writes in tables and other.writes not in self._runner.finished | dict.fromkeys(self._planned):
                yield other.name


def _committed_rows(version: Version | None, config: Config) -> int:
    if version is None:
        return 0
    return committed_rows(version, config) if version.table == "checkpoints" else _committed_keys(version)


def _committed_keys(version: Version) -> int:
    keys: set[str] = set()
    for name in version.part_names() if version.table in TABLES else ():
        with contextlib.suppress(DataError):  # a run removes a damaged part and recreates its rows
            keys.update(version.read_part(name, [version.table_spec.key]).column(0).to_pylist())
    return len(keys)


def _with_sections(config: Config, sections: dict[str, Any]) -> Config:
    """Config of an earlier version, as far as its manifest records it; else this config."""
    tree = config.model_dump(mode="json")
    for key, value in sections.items():
        *path, leaf = key.split(".")
        section = tree
        for name in path:
            section = section.get(name, {})
        section[leaf] = value
    try:
        return Config.model_validate(tree)
    except ValueError:  # the manifest holds settings that this version of vapray does not know
        return config
