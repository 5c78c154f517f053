"""The blocks of a page run in order, as its reader runs them, in a copy of the project with a finished small run.

A page of ``docs/contributing`` adds files and changes others: it is a program that has to work on the present code.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ONE_ACTOR, ROOT, SMALL
from tests.documented_blocks import BLOCKS, Block

COPIED = ("vapray", "serve", "jobs", "tests", "results", "cluster", "docs")
FILES = ("README.md", "pyproject.toml", "Makefile")
VAPRAY = '-c "from vapray.cli.app import main; main()"'
PROGRAMS = {
    "python": 'exec "{python}" "$@"',
    "lint-imports": 'exec "{python}" -c "from importlinter.cli import lint_imports_command as main; main()" "$@"',
    "vapray": f'if [ "$1" = demo ]; then shift; set -- demo {{demo}} "$@"; fi\nexec "{{python}}" {VAPRAY} "$@"',
}
"""Programs of ``.venv/bin``. ``vapray demo`` has the settings of the small run, so that it finds that run finished."""
RUNNING = list(dict.fromkeys(block.page for block in BLOCKS if block.runs and not block.attribute("file")))


def parameter(page: Path) -> object:
    """A page with its name; the guides to contributing take minutes."""
    marks = [pytest.mark.slow] if page.parent.name == "contributing" else []
    return pytest.param(page, id=page.relative_to(ROOT).as_posix(), marks=marks)


@pytest.fixture
def project(tmp_path: Path, small_run: Path) -> Path:
    """A copy of the project whose ``runs/demo`` is finished, with the small settings."""
    for name in COPIED:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(small_run, tmp_path / "runs" / "demo")
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    demo = " ".join(["--preset", "paper", *SMALL, *ONE_ACTOR])
    for name, script in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh\n{script.format(python=sys.executable, demo=demo)}\n")
        (programs / name).chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("page", [parameter(page) for page in RUNNING])
def test_the_blocks_of_a_page_run(page: Path, project: Path) -> None:
    for block in BLOCKS:
        if block.page == page and block.attribute("file"):
            write(block, project)
        elif block.page == page and block.runs:
            RUN[block.language](block, project)


def write(block: Block, project: Path) -> None:
    path = project / block.attribute("file")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text)


def run(block: Block, project: Path, command: list[str], text: str | None = None) -> None:
    # A pytest of the page is no worker of this one, and must not remove its phantoms.
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "VAPRAY_TEST_"))}
    environment = {**ours, "PYTHONPATH": str(project), "PATH": f"{project}/.venv/bin:{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=project, env=environment, input=text, capture_output=True, text=True, timeout=580, check=False
    )
    assert done.returncode == 0, f"{block.place}\n{block.text}\n{done.stdout}{done.stderr}"


def run_shell(block: Block, project: Path) -> None:
    run(block, project, ["bash", "-euo", "pipefail", "-c", block.text])


def run_python(block: Block, project: Path) -> None:
    run(block, project, [sys.executable, "-"], block.text)


def apply(block: Block, project: Path) -> None:
    run(block, project, ["git", "apply", "--unidiff-zero", "-"], block.text)


RUN: dict[str, Callable[[Block, Path], None]] = {"sh": run_shell, "python": run_python, "diff": apply}
