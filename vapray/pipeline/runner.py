"""Runner for the stages of :mod:`vapray.pipeline.stages`.

A stage's fingerprint covers its config sections, the content of its inputs, and its schema version. A stage is skipped
if a finished version has that fingerprint, which is checked before Ray starts; a new fingerprint opens a new version.
"""

import importlib
import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from vapray import __version__
from vapray.config import Config
from vapray.errors import DataError, LeaseHeldError
from vapray.pipeline.invalidation import invalidation_reasons
from vapray.pipeline.stages import STAGES, Stage, deciding_sections, select_stages, sign_external_inputs, tables_read
from vapray.runtime.cluster import ray_session, require_shared_root
from vapray.runtime.progress import Display
from vapray.runtime.stage_context import StageContext
from vapray.store.run_store import Store
from vapray.store.version import Manifest, Version, fingerprint

__all__ = ["PipelineRunner", "StageStatus", "run_pipeline"]

MISSING = "to be made"
PAGES = {"audit": "audit", "evaluate": "report"}


def run_pipeline(
    config: Config, names: Sequence[str] | None = None, display: Display | None = None, *, shared_root: bool = False
) -> Mapping[str, Version]:
    """Run stages in order; skip finished, unchanged ones.

    Args:
        config: Complete config.
        names: Stages to run; None for all that do not run on request only. Tables that they read from other stages
            must be finished.
        display: Output for progress; None prints to stdout.
        shared_root: Other runs share the root: wait for a run that writes the same version, and do not print the
            differences from the last run.

    Returns:
        The finished versions, by table.

    Raises:
        LeaseHeldError: another run writes the same version of a table, and ``shared_root`` is False.
        VaprayError: a stage failed; committed work is kept, and the same command continues.
    """
    runner = PipelineRunner(config, display or Display(), shared_root=shared_root)
    stages = select_stages(names)
    for stage in (stage for stage, is_requested in stages.items() if is_requested):
        runner.external_inputs(stage)  # report problems now, not after hours of earlier stages
    with ExitStack() as stack:
        for stage, is_requested in stages.items():
            if is_requested:
                runner.execute(runner.status(stage), stack)
            elif runner.has_inputs(stage):
                runner.status(stage)
            if stage.writes in runner.finished:
                _publish(stage, runner.finished[stage.writes])
    return runner.finished


@dataclass(frozen=True)
class StageStatus:
    """Status of a stage before it runs.

    Attributes:
        stage: The stage.
        sections: Config values that decide its result.
        inputs: Content hash of each input, by name; ``MISSING`` for a table that is not finished.
        version: Version that the stage would write; None while a table that it reads is not finished.
        manifest: Manifest of that version, if it is finished.
        last: Manifest of the last finished version of its table, with any fingerprint; None if the stage is finished.
    """

    stage: Stage
    sections: dict[str, Any]
    inputs: dict[str, str]
    version: Version | None
    manifest: Manifest | None
    last: Manifest | None

    @property
    def reasons(self) -> list[str]:
        """Reasons to run although an earlier version is finished."""
        return [] if self.manifest else invalidation_reasons(self.last, self.sections, self.inputs)


class PipelineRunner:
    """Runner for the stages of one run.

    Attributes:
        finished: Finished versions found so far, by table.
        manifests: Manifests of these versions, by stage.
    """

    def __init__(self, config: Config, display: Display, *, shared_root: bool = False) -> None:
        self.config, self.display, self.store = config, display, Store(config.run.root)
        self._shared_root = shared_root
        self.finished: dict[str, Version] = {}
        self.manifests: dict[str, Manifest] = {}
        self._external_inputs: dict[str, dict[str, str]] = {}
        self._ray_is_up = False

    def external_inputs(self, stage: Stage) -> dict[str, str]:
        """Hash of each external input of a stage, by name; computed once.

        Raises:
            ConfigError: an input is missing or unusable.
        """
        if stage.name not in self._external_inputs:
            self._external_inputs[stage.name] = sign_external_inputs(stage, self.config)
        return self._external_inputs[stage.name]

    def status(self, stage: Stage) -> StageStatus:
        """Get the status of a stage; writes nothing, and records a finished version for later stages."""
        sections, inputs = deciding_sections(stage, self.config), self._inputs(stage)
        version, manifest = None, None
        if self.has_inputs(stage):
            version = self.store.version(stage.writes, fingerprint(stage.name, stage.schema, sections, inputs))
            manifest = version.manifest()
            if manifest is not None:
                self._accept(stage, version, manifest)
        last = None if manifest else self.store.latest(stage.writes)
        return StageStatus(stage, sections, inputs, version, manifest, last)

    def has_inputs(self, stage: Stage) -> bool:
        """Check that all tables that a stage reads are finished."""
        return all(table in self.finished for table in tables_read(stage, self.config))

    def execute(self, status: StageStatus, stack: ExitStack) -> None:
        """Run a stage, unless it is finished; ``stack`` closes the Ray session that it may open.

        Raises:
            DataError: a table that the stage reads is not finished.
        """
        stage, version, manifest = status.stage, status.version, status.manifest
        if version is None:
            raise DataError(self._missing(stage))
        if manifest is not None:
            self.display.print(f"[{stage.name}] unchanged ({manifest.rows:,} rows in {version.uri})")
            return
        for reason in status.reasons if not self._shared_root else ():
            self.display.print(f"[{stage.name}] runs again: {reason}")
        if stage.uses_ray:
            self._connect(stack)
        self._accept(stage, version, self._run(stage, version, status.sections, status.inputs))

    def _accept(self, stage: Stage, version: Version, manifest: Manifest) -> None:
        self.finished[stage.writes], self.manifests[stage.name] = version, manifest

    def _run(self, stage: Stage, version: Version, sections: dict[str, Any], inputs: dict[str, str]) -> Manifest:
        on_wait = (lambda held: self.display.print(f"[{stage.name}] waits: {held}")) if self._shared_root else None
        with version.lease(on_wait) as lease, self.display.stage(stage.name) as progress:
            begin = time.monotonic()
            if (manifest := version.manifest()) is not None:  # another run finished it meanwhile
                return manifest
            version.adopt_parts(progress.log)
            tables = {table: self.finished[table] for table in tables_read(stage, self.config)}
            tables |= {table: found for table, found in self._tables_for_groups(stage).items() if table in inputs}
            run = StageContext(
                stage.name,
                self.config,
                tables,
                version,
                progress,
                begin,
                dict(self.manifests),
                self.external_inputs(stage),
                _validation(stage, self.config, tables),
            )
            importlib.import_module(f"vapray.{stage.package}.stage").run(run)
            if not lease.is_held():
                raise LeaseHeldError(
                    f"{version.uri}: another run took over while this one was stalled. Fix: run the command again."
                )
            manifest = version.seal(
                stage=stage.name,
                sections=sections,
                inputs=inputs,
                seconds=time.monotonic() - begin,
                versions={"vapray": __version__, "python": platform.python_version()},
                notes=run.notes,
            )
        self.display.print(_summary(manifest))
        return manifest

    def _connect(self, stack: ExitStack) -> None:
        if not self._ray_is_up:
            self.display.print("[ray] starting" if not self.config.cluster.address else "[ray] connecting")
            stack.enter_context(ray_session(self.config.cluster))
            require_shared_root(self.config.cluster, self.config.run.root)
            self._ray_is_up = True

    def _inputs(self, stage: Stage) -> dict[str, str]:
        read = {table: self.finished.get(table) for table in tables_read(stage, self.config)}
        tables = read | self._tables_for_groups(stage)
        inputs = {table: found.require_manifest().content_hash if found else MISSING for table, found in tables.items()}
        return inputs | self.external_inputs(stage)

    def _tables_for_groups(self, stage: Stage) -> dict[str, Version]:
        """Finished tables of this config that a stage also reads to report groups."""
        if not self.config.evaluate.groups:
            return {}
        writers = [other for other in STAGES if other.writes in stage.reads_for_groups and self.has_inputs(other)]
        found = {other.writes: self.status(other).version for other in writers if self.store.latest(other.writes)}
        return {table: version for table, version in found.items() if version and version.manifest()}

    def _missing(self, stage: Stage) -> str:
        tables = tables_read(stage, self.config)
        needed = [other.name for other in STAGES if other.writes in tables and other.name not in self.manifests]
        return (
            f"{self.config.run.root}: {stage.name} needs the output of {', '.join(needed)}, which is not finished with "
            f"this config. Fix: run `python -m jobs.{needed[0]}` with it first, or `python -m jobs.pipeline`."
        )


def _validation(stage: Stage, config: Config, tables: Mapping[str, Version]) -> Any:
    """Build the validation of training, or None; its import is deferred because it loads torch."""
    if stage.name != "train":
        return None
    from vapray.evaluation.validation import FrechetValidation

    names = ("images", "prompt_bank", "latents", "autoencoder")
    return FrechetValidation.of(config, *(tables[name] for name in names))


def _publish(stage: Stage, version: Version) -> None:
    """Copy the pages of this version to their public folders, <root>/audit and <root>/report."""
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
