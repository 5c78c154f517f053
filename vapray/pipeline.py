"""The walk through the stages of :mod:`vapray.stages`.

A stage's fingerprint is made of its own config sections, the content of its inputs, and its schema version. A finished
version with that fingerprint is a no-op, decided before Ray starts; another fingerprint opens a new version.
"""

import importlib
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from vapray import __version__
from vapray.cluster import connected, require_shared_root
from vapray.config import Config
from vapray.config.dotted import value_at
from vapray.errors import DataError, LeaseHeld
from vapray.lease import Lease
from vapray.progress import Display
from vapray.rerun import reasons_to_rerun
from vapray.stage_run import StageRun
from vapray.stages import OUTSIDE, STAGES, Stage, itinerary
from vapray.store import Manifest, Store, Version, fingerprint

__all__ = ["Standing", "Walk", "run_pipeline"]

NOT_MADE = "to be made"
SECONDS_BETWEEN_LOOKS = 2.0
"""At a version that another run is making."""
PAGES = {"audit": "audit", "evaluate": "report"}


def run_pipeline(
    config: Config, names: Sequence[str] | None = None, display: Display | None = None, *, among_others: bool = False
) -> Mapping[str, Version]:
    """Run stages in order; what is finished and unchanged is skipped.

    Args:
        config: the tree.
        names: the stages to run; None for all but those on request. Tables that they read from others must be
            finished.
        display: where to show progress.
        among_others: runs share the root: one that is at the same version of a table is waited for, and it is not told
            what differs from the last run.

    Returns:
        The finished versions, by table.

    Raises:
        LeaseHeld: another run is at the same version of a table, and this is not among others.
        VaprayError: from the stage that failed; what was committed stays, and the same command continues.
    """
    walk = Walk(config, display or Display(), among_others=among_others)
    way = itinerary(names)
    for stage in (stage for stage, wanted in way.items() if wanted):
        walk.outside(stage)  # what is wrong with it is said now, not after the hours of the stages before
    with ExitStack() as stack:
        for stage, wanted in way.items():
            walk.visit(stage, wanted=wanted, stack=stack)
    return walk.finished


@dataclass(frozen=True)
class Standing:
    """Where a stage stands, before anything is done about it.

    Attributes:
        stage: which.
        sections: the config values that decide its result.
        inputs: what it reads, by content hash; ``NOT_MADE`` for a table that is not finished.
        version: what it would write; None while a table that it reads is not finished.
        manifest: of that version, when it is finished.
        last: of the version of its table that was finished last, whatever its fingerprint.
    """

    stage: Stage
    sections: dict[str, Any]
    inputs: dict[str, str]
    version: Version | None
    manifest: Manifest | None
    last: Manifest | None

    @property
    def reasons(self) -> list[str]:
        """Why it runs although an earlier version is finished."""
        return [] if self.manifest else reasons_to_rerun(self.last, self.sections, self.inputs)


class Walk:
    """The way through the stages of one run.

    Attributes:
        finished: versions met so far that are finished, by table.
        manifests: theirs, by stage.
    """

    def __init__(self, config: Config, display: Display, *, among_others: bool = False) -> None:
        self.config, self.display, self.store = config, display, Store(config.run.root)
        self._among_others = among_others
        self.finished: dict[str, Version] = {}
        self.manifests: dict[str, Manifest] = {}
        self._outside: dict[str, dict[str, str]] = {}
        self._ray_is_up = False

    def outside(self, stage: Stage) -> dict[str, str]:
        """What it reads besides tables and settings, by a hash; looked at once in a walk.

        Raises:
            ConfigError: it is not there, or cannot be used.
        """
        if stage.name not in self._outside:
            self._outside[stage.name] = {name: sign(self.config) for name, sign in OUTSIDE.get(stage.name, {}).items()}
        return self._outside[stage.name]

    def look(self, stage: Stage) -> Standing:
        """Where a stage stands; writes nothing, and remembers a finished version for the stages behind it."""
        sections, inputs = self._sections(stage), self._inputs(stage)
        version, manifest = None, None
        if self.has_inputs(stage):
            version = self.store.version(stage.writes, fingerprint(stage.name, stage.schema, sections, inputs))
            manifest = version.manifest()
            if manifest is not None:
                self._accept(stage, version, manifest)
        last = None if manifest else self.store.newest(stage.writes)
        return Standing(stage, sections, inputs, version, manifest, last)

    def has_inputs(self, stage: Stage) -> bool:
        """Whether all tables that it reads are finished."""
        return all(table in self.finished for table in stage.reads)

    def visit(self, stage: Stage, *, wanted: bool, stack: ExitStack) -> None:
        """Run a stage unless it is finished or not wanted."""
        if not self.has_inputs(stage):
            if wanted:
                raise DataError(self._missing(stage))
            return
        standing = self.look(stage)
        manifest, version = standing.manifest, standing.version
        assert version is not None
        if manifest is None and wanted:
            for reason in standing.reasons if not self._among_others else ():
                self.display.line(f"[{stage.name}] runs again: {reason}")
            if stage.uses_ray:
                self._connect(stack)
            manifest = self._run(stage, version, standing.sections, standing.inputs)
            self._accept(stage, version, manifest)
        elif manifest is not None and wanted:
            self.display.line(f"[{stage.name}] unchanged ({manifest.rows:,} rows in {version.uri})")
        if manifest is not None:
            _publish(stage, version)

    def _accept(self, stage: Stage, version: Version, manifest: Manifest) -> None:
        self.finished[stage.writes], self.manifests[stage.name] = version, manifest

    def _run(self, stage: Stage, version: Version, sections: dict[str, Any], inputs: dict[str, str]) -> Manifest:
        with self._lease(stage, version) as lease, self.display.stage(stage.name) as progress:
            begin = time.monotonic()
            if (manifest := version.manifest()) is not None:  # another run finished it while this one was starting
                return manifest
            version.mend(progress.say)
            tables = {table: self.finished[table] for table in stage.reads}
            run = StageRun(
                stage.name,
                self.config,
                tables,
                version,
                progress,
                begin,
                dict(self.manifests),
                self.outside(stage),
                _validation(stage, self.config, tables),
            )
            importlib.import_module(f"vapray.{stage.room}.stage").run(run)
            if not lease.is_held():
                raise LeaseHeld(
                    f"{version.uri}: another run took over while this one was stalled. Run the command again."
                )
            manifest = version.seal(
                stage=stage.name,
                sections=sections,
                inputs=inputs,
                seconds=time.monotonic() - begin,
                versions={"vapray": __version__, "python": platform.python_version()},
                notes=run.notes,
            )
        self.display.line(_summary(manifest))
        return manifest

    @contextmanager
    def _lease(self, stage: Stage, version: Version) -> Iterator[Lease]:
        with ExitStack() as stack:
            for attempt in count():
                try:
                    lease = stack.enter_context(version.lease())
                except LeaseHeld as held:
                    if not self._among_others:
                        raise
                    if attempt == 0:
                        self.display.line(f"[{stage.name}] waits: {held}")
                    time.sleep(SECONDS_BETWEEN_LOOKS)
                else:
                    break
            yield lease

    def _connect(self, stack: ExitStack) -> None:
        if not self._ray_is_up:
            self.display.line("[ray] starting" if not self.config.cluster.address else "[ray] connecting")
            stack.enter_context(connected(self.config.cluster))
            require_shared_root(self.config.cluster, self.config.run.root)
            self._ray_is_up = True

    def _sections(self, stage: Stage) -> dict[str, Any]:
        tree = self.config.model_dump(mode="json")
        return {key: value_at(tree, key) for key in stage.sections}

    def _inputs(self, stage: Stage) -> dict[str, str]:
        inputs = {
            table: self.finished[table].sealed().content_hash if table in self.finished else NOT_MADE
            for table in stage.reads
        }
        return inputs | self.outside(stage)

    def _missing(self, stage: Stage) -> str:
        needed = [other.name for other in STAGES if other.writes in stage.reads and other.name not in self.manifests]
        return (
            f"{self.config.run.root}: {stage.name} reads what {', '.join(needed)} write, and with this config that is "
            f"not finished. Run `python -m jobs.{needed[0]}` with the same config first, or `python -m jobs.pipeline`."
        )


def _validation(stage: Stage, config: Config, tables: Mapping[str, Version]) -> Callable[[Any], float] | None:
    """What training asks of the rooms above it; imported only then, for they bring torch."""
    if stage.name != "train":
        return None
    from vapray.evaluation.validation import FrechetValidation

    names = ("images", "bank", "latents", "autoencoder")
    return FrechetValidation.of(config, *(tables[name] for name in names))


def _publish(stage: Stage, version: Version) -> None:
    """Show the pages of this version, and of no other, where a person looks for them: <root>/audit, <root>/report."""
    if (folder := PAGES.get(stage.name)) is None:
        return
    for name in version.files.names(f"{version.folder}/files/{folder}"):
        data = version.files.read(f"{version.folder}/files/{folder}/{name}")
        if data is not None and version.files.read(f"{folder}/{name}") != data:
            version.files.write(f"{folder}/{name}", data)


def _summary(manifest: Manifest) -> str:
    rate = manifest.rows / manifest.seconds if manifest.seconds else 0.0
    rejects = f", {manifest.rejects:,} rejects" if manifest.rejects else ""
    return f"[{manifest.stage}] {manifest.rows:,} rows in {manifest.seconds:.1f} s ({rate:,.1f}/s){rejects}"
