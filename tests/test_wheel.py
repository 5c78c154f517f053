"""The wheel holds every file of ``vapray``, ``serve`` and ``jobs``, and works from an empty folder."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ("vapray", "serve", "jobs")
SOURCES = ("pyproject.toml", "README.md", "LICENSE")
BUILD = "import sys; from setuptools.build_meta import build_wheel; print(build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in SOURCES:
        shutil.copy(ROOT / name, folder / "source" / name)
    command = [sys.executable, "-c", BUILD, str(folder)]
    subprocess.run(command, cwd=folder / "source", check=True, capture_output=True, timeout=120)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def ran(installed: Path, folder: Path, *words: str) -> str:
    """Run Python with the unpacked wheel first on its path, in a folder without the project."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-P", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_file_of_the_packages_is_in_the_wheel(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    files = [path for name in PACKAGES for path in (ROOT / name).rglob("*") if path.is_file()]
    wanted = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    assert wanted - held == set()


def test_commands_jobs_and_service_come_from_the_wheel(installed, tmp_path):
    places = ran(installed, tmp_path, "-c", "import jobs, serve.app, vapray; print(vapray.__file__, serve.__file__)")
    assert places.count(str(installed)) == 2
    main = "from vapray.cli.app import main; main()"
    assert "evaluate" in ran(installed, tmp_path, "-c", main, "demo", "--dry-run")
    assert "evaluate" in ran(installed, tmp_path, "-m", "jobs.pipeline", "--dry-run")
    assert list(tmp_path.iterdir()) == []
