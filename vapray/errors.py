"""Exceptions that vapray raises on purpose, with the exit codes of the CLI.

VaprayError                     1
 ├─ ConfigError                 2   a key, a value, or a combination of them
 ├─ DataError                   3   images, tables, manifests
 │   ├─ ImageDecodeError        3   one image; becomes a reject, does not end the stage
 │   └─ LeaseHeldError          3   another run is writing the same version
 ├─ CheckpointError             4   damaged, incompatible or missing weights
 ├─ BackendError                5   Ray, a captioner, a GPU, an endpoint
 │   ├─ EngineDeadError         5   a model's engine inside a live process, which must be replaced
 │   └─ TrainingDivergedError   5   gradients that stay non-finite; a restart would fail again
 └─ RejectLimitError            6   more rejects than ``run.max_reject_fraction``

An interrupted command ends with 130 (SIGINT) or 143 (SIGTERM).
Messages name the place, the value found, the values accepted, and the fix.
"""

import sys

__all__ = [
    "BackendError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "EngineDeadError",
    "ImageDecodeError",
    "LeaseHeldError",
    "RejectLimitError",
    "TrainingDivergedError",
    "VaprayError",
    "is_device_failure",
]


class VaprayError(Exception):
    """Base class of all errors that vapray raises on purpose."""

    exit_code = 1


class ConfigError(VaprayError):
    """Invalid key, value or combination of values."""

    exit_code = 2


class DataError(VaprayError):
    """Unusable images, tables or manifests."""

    exit_code = 3


class ImageDecodeError(DataError):
    """One image that cannot be decoded completely; ``str(error)`` is the reason of its reject."""


class LeaseHeldError(DataError):
    """Another live run is writing this version."""


class CheckpointError(VaprayError):
    """Damaged, missing or incompatible weights."""

    exit_code = 4


class BackendError(VaprayError):
    """Missing or unresponsive Ray cluster, captioner, device or endpoint."""

    exit_code = 5


class EngineDeadError(BackendError):
    """A model's engine ended inside a live process; only a new process can start a new engine."""


class TrainingDivergedError(BackendError):
    """Gradients are not finite, step after step."""


class RejectLimitError(VaprayError):
    """More rows were rejected than ``run.max_reject_fraction`` allows."""

    exit_code = 6


def is_device_failure(error: BaseException) -> bool:
    """Check for a failed GPU kernel or memory error (``torch.AcceleratorError``): its process cannot use the GPU again.

    Memory that ran out is none.
    """
    kind = getattr(sys.modules.get("torch"), "AcceleratorError", None)
    return kind is not None and isinstance(error, kind)
