"""The wheel and the sdist hold every file of ``vapray``, ``serve`` and ``jobs``, and work in empty environments.

Proven: both install without the checkout, the sdist builds the same wheel, and commands, stages, service and data files
come from the installed package. Not proven: that an index delivers the dependencies (6 GB), which come from the
environment of the tests.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT
from vapray import __version__

PACKAGES = ("vapray", "serve", "jobs")
FOLDERS = (*PACKAGES, "cluster", "docs", "release")
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"
INSTALL = ("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--no-cache-dir")


def build(source: Path, kind: str, folder: Path) -> Path:
    """Build a wheel or an sdist of a folder with the tests' own setuptools."""
    command = [sys.executable, "-c", BUILD, f"build_{kind}", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """The files that a release is built from, without git."""
    folder = tmp_path_factory.mktemp("release") / "source"
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, folder / path.name)
    return folder


@pytest.fixture(scope="module")
def wheel(source) -> Path:
    return build(source, "wheel", source.parent)


@pytest.fixture(scope="module")
def sdist(source) -> Path:
    return build(source, "sdist", source.parent)


@pytest.fixture(scope="module")
def empty(tmp_path_factory) -> Path:
    """An environment with pip, and with the dependencies of the tests' own environment but not its vapray."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    # Python 3.11 adds a setuptools that is too old.
    ran(folder, folder, "python", "-m", "pip", "uninstall", "--quiet", "--yes", "setuptools")
    (libraries,) = folder.glob("lib/python*/site-packages")
    (libraries / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    code = f"import importlib.util; print([n for n in ('torch', *{PACKAGES}) if importlib.util.find_spec(n)])"
    assert ran(folder, folder, "python", "-c", code).strip() == "['torch']"
    return folder


@pytest.fixture(scope="module")
def with_wheel(empty, wheel) -> Path:
    ran(empty, empty, "python", *INSTALL, str(wheel))
    return empty


def run(environment: Path, folder: Path, command: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of an environment in a folder without the project."""
    outside = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    line = [str(environment / "bin" / command), *words]
    return subprocess.run(line, cwd=folder, env=outside, capture_output=True, text=True, timeout=300, check=False)


def ran(environment: Path, folder: Path, command: str, *words: str) -> str:
    """The output of a command that must succeed."""
    done = run(environment, folder, command, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/RECORD")}


def files_below(*folders: str) -> set[str]:
    paths = (path for name in folders for path in (ROOT / name).rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in paths if "__pycache__" not in path.parts}


def test_every_file_of_the_packages_is_in_the_wheel(wheel):
    assert files_below(*PACKAGES) - contents(wheel).keys() == set()


def test_the_metadata_state_version_license_and_dependencies_of_the_project(wheel):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    metadata = message_from_bytes(contents(wheel)[f"vapray-{__version__}.dist-info/METADATA"])
    needed = {Requirement(text) for text in metadata.get_all("Requires-Dist") if "extra ==" not in text}
    assert needed == set(map(Requirement, project["dependencies"]))
    assert (metadata["Version"], metadata["License-Expression"]) == (__version__, "Apache-2.0")
    assert set(metadata.get_all("Provides-Extra")) == project["optional-dependencies"].keys()


def test_the_sdist_holds_the_documents_and_no_tests(sdist):
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    documents = {"CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md", "SECURITY.md", "constraints.txt"}
    assert files_below(*FOLDERS) | documents <= held
    assert not [name for name in held if name.startswith(("tests", "results"))]


def test_the_sdist_builds_the_same_wheel_without_the_checkout(sdist, wheel, tmp_path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    again = build(tmp_path / f"vapray-{__version__}", "wheel", tmp_path)
    assert contents(again) == contents(wheel)


def test_the_sdist_installs_into_an_empty_environment(empty, sdist, tmp_path):
    target = tmp_path / "target"
    ran(empty, tmp_path, "python", *INSTALL, "--target", str(target), str(sdist))
    assert files_below(*PACKAGES) <= {path.relative_to(target).as_posix() for path in target.rglob("*")}
    assert (target / "bin" / "vapray").is_file()


def test_commands_jobs_and_service_come_from_the_installed_wheel(with_wheel, tmp_path):
    assert ran(with_wheel, tmp_path, "vapray", "--version") == f"vapray {__version__}\n"
    assert "Not for clinical use" in ran(with_wheel, tmp_path, "vapray", "--help")
    code = "import jobs, serve.app, vapray; print(vapray.__file__, serve.__file__)"
    assert ran(with_wheel, tmp_path, "python", "-P", "-c", code).count(str(with_wheel)) == 2
    assert "evaluate" in ran(with_wheel, tmp_path, "vapray", "demo", "--dry-run")
    assert "evaluate" in ran(with_wheel, tmp_path, "python", "-P", "-m", "jobs.pipeline", "--dry-run")
    assert list(tmp_path.iterdir()) == []


def test_the_doctor_of_the_installed_wheel_finds_packages_config_and_models(with_wheel, tmp_path):
    done = run(with_wheel, tmp_path, "vapray", "doctor", "--json")
    found = {one["check"]: one["state"] for one in map(json.loads, done.stdout.splitlines())}
    wanted = ("python", "packages", "config", "captioner", "text encoder", "autoencoder", "features", "torch")
    assert {name: found.get(name) for name in wanted} == dict.fromkeys(wanted, "ok"), done.stdout + done.stderr
