"""Exceptions that vapray raises on purpose, with the exit codes of the CLI.

VaprayError             1
 ├─ ConfigError         2   a key, a value, or a combination of them
 ├─ DataError           3   images, tables, manifests
 │   ├─ BadImage        3   one image; becomes a reject, does not end the stage
 │   └─ LeaseHeld       3   another run is writing the same version
 ├─ CheckpointError     4   damaged, incompatible or missing weights
 ├─ BackendError        5   Ray, a captioner, a GPU, an endpoint
 │   ├─ EngineDied      5   a model's engine inside a live process, which must be replaced
 │   └─ TrainingDiverged 5   gradients that stay non-finite; a restart would fail again
 └─ TooManyRejects      6   more bad rows than ``run.max_bad_fraction``

An interrupted command ends with 130 (SIGINT) or 143 (SIGTERM).
Messages name the place, the value found, the values accepted, and the fix.
"""

__all__ = [
    "BackendError",
    "BadImage",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "EngineDied",
    "LeaseHeld",
    "TooManyRejects",
    "TrainingDiverged",
    "VaprayError",
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


class BadImage(DataError):
    """One image that cannot be decoded completely; ``str(error)`` is the reason of its reject."""


class LeaseHeld(DataError):
    """Another live run is writing this version."""


class CheckpointError(VaprayError):
    """Damaged, missing or incompatible weights."""

    exit_code = 4


class BackendError(VaprayError):
    """Missing or unresponsive Ray cluster, captioner, device or endpoint."""

    exit_code = 5


class EngineDied(BackendError):
    """A model's engine ended inside a live process; only a new process can start a new engine."""


class TrainingDiverged(BackendError):
    """Gradients are not finite, step after step."""


class TooManyRejects(VaprayError):
    """More rows were rejected than ``run.max_bad_fraction`` allows."""

    exit_code = 6
