"""The stages as one table, and the walk through them.

    phantoms ─► images ─┬─► captions ─► bank ──────────┐
                        ├─► autoencoder ─► latents ────┼─► checkpoints ─► samples ─► report
                        └──────────────────────────────┴─────────────────────────────►

A stage's fingerprint is made of its own config sections, the content of its inputs, and its schema version. A finished
version with that fingerprint is a no-op, decided before Ray starts; another fingerprint opens a new version.
"""

import importlib
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from vapray import __version__
from vapray.captioning.signature import captions_signature, prompts_signature
from vapray.cluster import connected, require_shared_root
from vapray.config import Config, Train
from vapray.data.dataset import dataset_signature
from vapray.errors import DataError, LeaseHeld
from vapray.progress import Display
from vapray.stage_run import StageRun
from vapray.store import Manifest, Store, Version, fingerprint

__all__ = ["STAGES", "Stage", "run_pipeline"]


@dataclass(frozen=True)
class Stage:
    """One arrow of the drawing above.

    Attributes:
        name: as in ``python -m jobs.NAME``.
        room: the folder whose ``stage.py`` holds ``run(StageRun)``.
        writes: its table.
        reads: tables of stages before it.
        sections: dotted config keys that decide its result.
        schema: version of what it writes.
    """

    name: str
    room: str
    writes: str
    reads: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    schema: int = 1


# How often to report, save or retry, and on how many workers, does not decide what is learned.
_TRAIN_EXECUTION = {
    "workers", "use_gpu", "report_every", "checkpoint_every", "keep_checkpoints", "max_failures", "max_skipped_steps",
    "grace_seconds",
}  # fmt: skip
_TRAIN = tuple(f"train.{name}" for name in Train.model_fields if name not in _TRAIN_EXECUTION)
_FRAME = ("data.modality", "data.image_size")
_MODEL = ("data.image_size", "autoencoder", "model", "diffusion", "bank")

STAGES = (
    Stage("ingest", "data", "images", (), ("data.source",)),
    Stage("caption", "captioning", "captions", ("images",), ("data.modality", "caption", "run.seed")),
    Stage("bank", "bank", "bank", ("captions",), ("bank",)),
    Stage(
        "autoencoder",
        "latents.fitting",
        "autoencoder",
        ("images",),
        ("data.image_size", "autoencoder", "run.seed"),
    ),
    Stage("encode", "latents", "latents", ("images", "autoencoder"), ("data.image_size",)),
    Stage(
        "train",
        "training",
        "checkpoints",
        ("images", "autoencoder", "bank", "latents"),
        (*_MODEL, *_TRAIN, "run.seed"),
    ),
    Stage("sample", "sampling", "samples", ("bank", "checkpoints"), ("sample", "run.seed")),
    Stage(
        "evaluate",
        "evaluation",
        "measurements",
        ("images", "captions", "autoencoder", "checkpoints", "samples"),
        (*_FRAME, "caption.prompt_set", "evaluate", "run.seed"),
    ),
)


# What a stage reads besides tables and config values, by a hash of its content.
OUTSIDE: Mapping[str, Mapping[str, Callable[[Config], str]]] = {
    "ingest": {"dataset": dataset_signature},
    "caption": {"prompts": prompts_signature, "given captions": captions_signature},
    "evaluate": {"prompts": prompts_signature},
}


def run_pipeline(config: Config, names: Sequence[str] | None = None, display: Display | None = None) -> None:
    """Run stages in order; what is finished and unchanged is skipped.

    Args:
        config: the tree.
        names: the stages to run; None for all. Tables that they read from others must be finished.
        display: where to show progress.

    Raises:
        VaprayError: from the stage that failed; what was committed stays, and the same command continues.
    """
    walk = _Walk(config, display or Display())
    with ExitStack() as stack:
        for stage in STAGES:
            walk.visit(stage, wanted=names is None or stage.name in names, stack=stack)


class _Walk:
    def __init__(self, config: Config, display: Display) -> None:
        self.config, self.display, self.store = config, display, Store(config.run.root)
        self.finished: dict[str, Version] = {}
        self.manifests: dict[str, Manifest] = {}
        self._ray_is_up = False

    def visit(self, stage: Stage, *, wanted: bool, stack: ExitStack) -> None:
        if any(table not in self.finished for table in stage.reads):
            if wanted:
                raise DataError(self._missing(stage))
            return
        sections, inputs = self._sections(stage), self._inputs(stage)
        version = self.store.version(stage.writes, fingerprint(stage.name, stage.schema, sections, inputs))
        manifest = version.manifest()
        if manifest is None and wanted:
            self._explain_rerun(stage, sections, inputs)
            self._connect(stack)
            manifest = self._run(stage, version, sections, inputs)
        elif manifest is not None and wanted:
            self.display.line(f"[{stage.name}] unchanged ({manifest.rows:,} rows in {version.uri})")
        if manifest is not None:
            self.finished[stage.writes], self.manifests[stage.name] = version, manifest
            _publish(stage, version)

    def _run(self, stage: Stage, version: Version, sections: dict[str, Any], inputs: dict[str, str]) -> Manifest:
        begin = time.monotonic()
        with version.lease() as lease, self.display.stage(stage.name) as progress:
            if (manifest := version.manifest()) is not None:  # another run finished it while this one was starting
                return manifest
            tables = {table: self.finished[table] for table in stage.reads}
            run = StageRun(
                stage.name,
                self.config,
                tables,
                version,
                progress,
                begin,
                dict(self.manifests),
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

    def _connect(self, stack: ExitStack) -> None:
        if not self._ray_is_up:
            self.display.line("[ray] starting" if not self.config.cluster.address else "[ray] connecting")
            stack.enter_context(connected(self.config.cluster))
            require_shared_root(self.config.cluster, self.config.run.root)
            self._ray_is_up = True

    def _sections(self, stage: Stage) -> dict[str, Any]:
        tree = self.config.model_dump(mode="json")
        return {key: _at(tree, key) for key in stage.sections}

    def _inputs(self, stage: Stage) -> dict[str, str]:
        inputs = {table: self.finished[table].sealed().content_hash for table in stage.reads}
        return inputs | {name: sign(self.config) for name, sign in OUTSIDE.get(stage.name, {}).items()}

    def _missing(self, stage: Stage) -> str:
        needed = [other.name for other in STAGES if other.writes in stage.reads and other.name not in self.manifests]
        return (
            f"{self.config.run.root}: {stage.name} reads what {', '.join(needed)} write, and with this config that is "
            f"not finished. Run `python -m jobs.{needed[0]}` with the same config first, or `python -m jobs.pipeline`."
        )

    def _explain_rerun(self, stage: Stage, sections: dict[str, Any], inputs: dict[str, str]) -> None:
        last = self.store.newest(stage.writes)
        if last is None:
            return
        changes = [*_difference("", last.sections, sections), *_difference("input ", last.inputs, inputs)]
        for change in changes or ["schema version"]:
            self.display.line(f"[{stage.name}] runs again: {change}")


def _validation(stage: Stage, config: Config, tables: Mapping[str, Version]) -> Callable[[Any], float] | None:
    """What training asks of the rooms above it; imported only then, for they bring torch."""
    if stage.name != "train":
        return None
    from vapray.evaluation.validation import FrechetValidation

    names = ("images", "bank", "latents", "autoencoder")
    return FrechetValidation.of(config, *(tables[name] for name in names))


def _publish(stage: Stage, version: Version) -> None:
    """Show the report of this evaluation, and no other, at <root>/report."""
    if stage.name != "evaluate":
        return
    for name in version.files.names(f"{version.folder}/files/report"):
        data = version.files.read(f"{version.folder}/files/report/{name}")
        if data is not None and version.files.read(f"report/{name}") != data:
            version.files.write(f"report/{name}", data)


def _summary(manifest: Manifest) -> str:
    rate = manifest.rows / manifest.seconds if manifest.seconds else 0.0
    rejects = f", {manifest.rejects:,} rejects" if manifest.rejects else ""
    return f"[{manifest.stage}] {manifest.rows:,} rows in {manifest.seconds:.1f} s ({rate:,.1f}/s){rejects}"


def _at(tree: Any, key: str) -> Any:
    for name in key.split("."):
        tree = tree[name]
    return tree


def _difference(path: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            dot = "." if path and not path.endswith(" ") else ""
            yield from _difference(f"{path}{dot}{key}", old.get(key), new.get(key))
    elif old != new:
        yield f"{path}: {old} -> {new}"
