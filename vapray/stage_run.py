"""What a stage is given when it runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vapray.config import Config
from vapray.progress import StageProgress
from vapray.store import Manifest, Version

__all__ = ["StageRun"]


@dataclass(frozen=True)
class StageRun:
    """One stage of one run, about to write one version.

    Attributes:
        name: the stage.
        config: the whole tree; a stage reads only the sections of its fingerprint, and its pool.
        inputs: finished versions of the tables it reads, by table.
        output: the version it fills; leased to this run.
        progress: where it shows its rows.
        began: ``time.monotonic()`` at its start.
        history: manifests of the stages before it, by stage.
        outside: what it reads besides tables and settings, by the hash that its fingerprint has of it.
        validate: what training asks of the rooms above it, where there is anything to ask: the averaged network in, a
            distance to the validation split out, lower is better.
        notes: what it leaves in its manifest for the report, as JSON values.
    """

    name: str
    config: Config
    inputs: Mapping[str, Version]
    output: Version
    progress: StageProgress
    began: float
    history: Mapping[str, Manifest]
    outside: Mapping[str, str] = field(default_factory=dict)
    validate: Callable[[Any], float] | None = None
    notes: dict[str, Any] = field(default_factory=dict)
