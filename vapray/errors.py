"""Everything vapray raises on purpose, and the exit code it ends a command with.

VaprayError             1
 ├─ ConfigError         2   a key, a value, or a combination of them
 ├─ DataError           3   images, tables, manifests
 │   ├─ BadImage        3   one picture; becomes a reject, not the end of a stage
 │   └─ LeaseHeld       3   another run is writing the same version
 ├─ CheckpointError     4   damaged, incompatible or missing weights
 ├─ BackendError        5   Ray, a captioner, a GPU, an endpoint
 │   ├─ EngineDied      5   a model's engine inside of a live process, which has to be replaced
 │   └─ TrainingDiverged 5   gradients that stay non-finite; starting again would end the same way
 └─ TooManyRejects      6   more bad rows than ``run.max_bad_fraction``

An interrupted command ends with 130 (SIGINT) or 143 (SIGTERM).
Messages say where, what was found, what is accepted, and what to do next.
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
    """The root: catch this to catch all that vapray raises on purpose."""

    exit_code = 1


class ConfigError(VaprayError):
    """A key, a value or a combination of values that cannot work."""

    exit_code = 2


class DataError(VaprayError):
    """Images, tables or manifests that cannot be used."""

    exit_code = 3


class BadImage(DataError):
    """One picture that cannot be decoded in full; ``str(error)`` is the reject's reason."""


class LeaseHeld(DataError):
    """Another live run is writing this version."""


class CheckpointError(VaprayError):
    """Weights that are damaged, of another architecture, or missing."""

    exit_code = 4


class BackendError(VaprayError):
    """Ray, a captioner, a device or an endpoint that is missing or does not answer."""

    exit_code = 5


class EngineDied(BackendError):
    """A model's engine ended within a process that lives on; only a new process can have a new one."""


class TrainingDiverged(BackendError):
    """Gradients are not finite, step after step."""


class TooManyRejects(VaprayError):
    """More rows were rejected than ``run.max_bad_fraction`` allows."""

    exit_code = 6
