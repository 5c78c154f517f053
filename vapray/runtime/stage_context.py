"""Context of a running stage."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vapray.config import Config
from vapray.runtime.progress import StageProgress
from vapray.store.version import Manifest, Version

__all__ = ["StageContext"]


@dataclass(frozen=True)
class StageContext:
    """Context of one stage of one run, which writes one version.

    Attributes:
        name: Name of the stage.
        config: Complete config; a stage reads only the sections of its fingerprint, and its pool.
        inputs: Finished versions of the tables that the stage reads, by table.
        output: Version that the stage writes; leased to this run.
        progress: Progress display of the stage.
        began: ``time.monotonic()`` at the start of the stage.
        upstream: Manifests of earlier stages, by stage.
        external_inputs: Hash of each external input, by name, as in the fingerprint.
        validate: ``vapray.training.job.Validation`` of stage train; None: none.
        notes: JSON values that the stage records in its manifest for the report.
    """

    name: str
    config: Config
    inputs: Mapping[str, Version]
    output: Version
    progress: StageProgress
    began: float
    upstream: Mapping[str, Manifest]
    external_inputs: Mapping[str, str] = field(default_factory=dict)
    validate: Any = None
    notes: dict[str, Any] = field(default_factory=dict)
