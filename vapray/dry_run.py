"""``--dry-run``: the walk of a run that only looks, and what it would do as a table.

Nothing is written, Ray does not start, and torch is not imported.
"""

import contextlib
import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vapray.config import Config
from vapray.data.forecast import count_images
from vapray.errors import DataError
from vapray.forecast import Forecast, Outlook, by_last_run, rest_of
from vapray.pipeline import Standing, Walk
from vapray.progress import Display
from vapray.stages import STAGES, Stage, itinerary
from vapray.store import Manifest, Version
from vapray.tables import TABLES
from vapray.training.forecast import committed_rows

__all__ = ["Prospect", "foresee"]


@dataclass(frozen=True)
class Prospect:
    """What would become of one stage.

    Attributes:
        stage: its name.
        rows: of the whole stage.
        done: how many of them are committed.
        forecast: what is left to do; None for a finished stage.
        waits_for: stages that have to run first and are not asked for.
        reasons: why it runs although an earlier version is finished.
    """

    stage: str
    rows: int
    done: int = 0
    forecast: Forecast | None = None
    waits_for: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """In words."""
        if self.waits_for:
            return f"waits for {', '.join(self.waits_for)}"
        if self.forecast is None:
            return "unchanged"
        return f"would continue: {self.done:,} of {self.rows:,} done" if self.done else "would run"


def foresee(config: Config, names: Sequence[str] | None = None) -> list[Prospect]:
    """What :func:`vapray.pipeline.run_pipeline` would do with the same arguments.

    Raises:
        ConfigError: as the run would.
        DataError: as the run would, for a dataset that is not there.
    """
    look_ahead = _LookAhead(config)
    return [found for stage, wanted in itinerary(names).items() if (found := look_ahead.at(stage, wanted=wanted))]


class _LookAhead:
    def __init__(self, config: Config) -> None:
        self._config, self._walk = config, Walk(config, Display())
        self._rows: dict[str, int] = {}
        self._planned: set[str] = set()

    def at(self, stage: Stage, *, wanted: bool) -> Prospect | None:
        standing = self._walk.look(stage)
        if stage.name == "ingest":
            self._images = count_images(self._config, standing.version if standing.manifest else None)
        outlook = Outlook(self._config, self._images, dict(self._rows))
        whole = standing.manifest or self._forecast(stage, standing, outlook)
        self._rows[stage.writes] = whole.rows
        if not wanted:
            return None
        self._planned.add(stage.writes)
        if isinstance(whole, Manifest):
            return Prospect(stage.name, whole.rows)
        done = self._done(standing)
        left = rest_of(whole, done)
        return Prospect(stage.name, whole.rows, done, left, tuple(self._waits_for(stage)), tuple(standing.reasons))

    def _forecast(self, stage: Stage, standing: Standing, outlook: Outlook) -> Forecast:
        price = importlib.import_module(f"vapray.{stage.room}.forecast").forecast
        now: Forecast = price(outlook)
        last = standing.last
        if last is None:
            return now
        then = Outlook(_with_sections(self._config, last.sections), outlook.images, outlook.rows)
        return by_last_run(now, price(then), last)

    def _done(self, standing: Standing) -> int:
        version = standing.version
        if version is None:
            return 0
        if version.table == "checkpoints":
            return committed_rows(version, self._config)
        return _committed_keys(version)

    def _waits_for(self, stage: Stage) -> Iterator[str]:
        for other in STAGES:
            if other.writes in stage.reads and other.writes not in self._walk.finished | dict.fromkeys(self._planned):
                yield other.name


def _committed_keys(version: Version) -> int:
    keys: set[str] = set()
    for name in version.part_names() if version.table in TABLES else ():
        with contextlib.suppress(DataError):  # a run removes a damaged part and makes its rows again
            keys.update(version.read_part(name, [version.kind.key]).column(0).to_pylist())
    return len(keys)


def _with_sections(config: Config, sections: dict[str, Any]) -> Config:
    """The config under which an earlier version was made, as far as its manifest tells; else this one."""
    tree = config.model_dump(mode="json")
    for key, value in sections.items():
        *path, leaf = key.split(".")
        section = tree
        for name in path:
            section = section.get(name, {})
        section[leaf] = value
    try:
        return Config.model_validate(tree)
    except ValueError:  # settings that this version of vapray does not know
        return config
