"""All checks of ``vapray doctor``, in the order in which a run needs them."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from vapray.config import Config
from vapray.config.loader import load_config
from vapray.doctor import cluster, dataset, devices, machine, models, packages, run_root
from vapray.doctor.findings import Finding, failed, ok
from vapray.errors import VaprayError

__all__ = ["Check", "run_checks"]


class Check(NamedTuple):
    """One check of a config.

    Attributes:
        name: name of the finding when the check itself ends with an error.
        function: generator of the findings.
    """

    name: str
    function: Callable[[Config], Iterator[Finding]]


CHECKS = (
    Check("models", models.check),
    Check("machine", machine.check),
    Check("devices", devices.check),
    Check("run root", run_root.check),
    Check("dataset", dataset.check),
    Check("groups", dataset.check_groups),
    Check("cluster", cluster.check),
)


def run_checks(config_file: str | None, overrides: Sequence[str], preset: str | None = None) -> Iterator[Finding]:
    """Run all checks; without a valid config, only the checks of Python and the packages."""
    yield from packages.check()
    try:
        config = load_config(config_file, overrides, preset=preset)
    except VaprayError as error:
        yield failed("config", str(error), "Correct the config; the other checks need it.", error.exit_code)
        return
    yield ok("config", config_file or f"preset {preset}")
    for check in CHECKS:
        yield from _run(check, config)


def _run(check: Check, config: Config) -> Iterator[Finding]:
    """Run one check; an error of vapray becomes a failed finding."""
    try:
        yield from check.function(config)
    except VaprayError as error:
        yield failed(check.name, str(error), "", error.exit_code)
