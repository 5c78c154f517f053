"""What a stage is given when it runs."""

from collections.abc import Mapping
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
        notes: what it leaves in its manifest for the report, as JSON values.
    """

    name: str
    config: Config
    inputs: Mapping[str, Version]
    output: Version
    progress: StageProgress
    began: float
    history: Mapping[str, Manifest]
    notes: dict[str, Any] = field(default_factory=dict)
