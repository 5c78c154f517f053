"""Machines joined to a Ray cluster, with an object store beside them, and a run that one machine has made alone."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.namespaces import why_not
from tests.cluster.rig import Rig
from tests.conftest import ROOT, made_once
from tests.faults.stricken_stage import SETTINGS
from tests.faults.unbroken_run import UnbrokenRun
from tests.object_storage.conftest import CREDENTIALS, s3_server


@pytest.fixture(scope="session")
def machines(tmp_path_factory) -> Iterator[Rig]:
    """A head and three workers; some may be off."""
    if reason := why_not():
        pytest.skip(reason)
    with Rig(tmp_path_factory.mktemp("machines")) as rig, s3_server(rig.outside) as port:
        rig.settings |= CREDENTIALS | {"AWS_ENDPOINT_URL": f"http://{rig.outside}:{port}"}
        yield rig


@pytest.fixture
def rig(machines) -> Rig:
    """The same, all on."""
    machines.power_on()
    return machines


@pytest.fixture(scope="session")
def settings(tmp_path_factory) -> tuple[str, ...]:
    """Settings of every command; all machines see this disk, as they would see a network's."""
    data = made_once(tmp_path_factory, "cluster-data", lambda folder: None)
    return (f"data.root={data / 'phantoms'}", *SETTINGS)


@pytest.fixture(scope="session")
def unbroken(settings, tmp_path_factory) -> UnbrokenRun:
    """The whole pipeline on an embedded Ray: one machine, nothing killed."""

    def make(folder: Path) -> None:
        command = [sys.executable, "-m", "jobs.pipeline", f"run.root={folder / 'run'}", *settings]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    return UnbrokenRun(made_once(tmp_path_factory, "unbroken", make) / "run")
