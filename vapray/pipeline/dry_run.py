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
from vapray.pipeline.stages import STAGES, Stage, select_stages
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
    look_ahead = _DryRun(config)
    return [found for stage, wanted in select_stages(names).items() if (found := look_ahead.at(stage, wanted=wanted))]


class _DryRun:
    def __init__(self, config: Config) -> None:
        self._config, self._runner = config, PipelineRunner(config, Display())
        self._rows: dict[str, int] = {}
        self._planned: set[str] = set()

    def at(self, stage: Stage, *, wanted: bool) -> StagePlan | None:
        standing = self._runner.status(stage)
        if stage.name == "ingest":
            self._images = count_images(self._config, standing.version if standing.manifest else None)
        outlook = ForecastInputs(self._config, self._images, dict(self._rows))
        whole = standing.manifest or self._forecast(stage, standing, outlook)
        self._rows[stage.writes] = whole.rows
        if not wanted:
            return None
        self._planned.add(stage.writes)
        if isinstance(whole, Manifest):
            return StagePlan(stage.name, whole.rows)
        done = self._done(standing)
        left = remaining(whole, done)
        return StagePlan(stage.name, whole.rows, done, left, tuple(self._waits_for(stage)), tuple(standing.reasons))

    def _forecast(self, stage: Stage, standing: StageStatus, outlook: ForecastInputs) -> Forecast:
        price = importlib.import_module(f"vapray.{stage.package}.forecast").forecast
        now: Forecast = price(outlook)
        last = standing.last
        if last is None:
            return now
        then = ForecastInputs(_with_sections(self._config, last.sections), outlook.images, outlook.rows)
        return calibrated(now, price(then), last)

    def _done(self, standing: StageStatus) -> int:
        version = standing.version
        if version is None:
            return 0
        if version.table == "checkpoints":
            return committed_rows(version, self._config)
        return _committed_keys(version)

    def _waits_for(self, stage: Stage) -> Iterator[str]:
        for other in STAGES:
            if other.writes in stage.reads and other.writes not in self._runner.finished | dict.fromkeys(self._planned):
                yield other.name


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
