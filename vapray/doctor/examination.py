"""All checks of ``vapray doctor``, in the order in which a run would meet them."""

from collections.abc import Iterator, Sequence

from vapray.config.file import load
from vapray.doctor import cluster, dataset, devices, machine, models, packages, run_folder
from vapray.doctor.findings import Finding, failed, ok
from vapray.errors import VaprayError

__all__ = ["examine"]

CHECKS = (
    models.examine,
    machine.examine,
    devices.examine,
    run_folder.examine,
    dataset.examine,
    cluster.examine,
)


def examine(config_file: str | None, overrides: Sequence[str]) -> Iterator[Finding]:
    """Check after check; without a usable config, only what needs none."""
    yield from packages.examine()
    try:
        config = load(config_file, overrides)
    except VaprayError as error:
        yield failed("config", str(error), "Mend it; nothing else can be checked before.", error.exit_code)
        return
    yield ok("config", config_file or "the demo's settings")
    for check in CHECKS:
        yield from _guarded(check.__module__.rsplit(".", 1)[-1].replace("_", " "), check(config))


def _guarded(name: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """An error of vapray's own while looking is a finding too."""
    try:
        yield from findings
    except VaprayError as error:
        yield failed(name, str(error), "", error.exit_code)
