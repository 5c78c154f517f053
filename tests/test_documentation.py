"""Links, named files and code blocks of the documentation, and the length of the README."""

import re
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer.main
import yaml

from tests.conftest import ROOT
from tests.documented_blocks import BLOCKS, PAGES, Block, commands_of
from vapray.capacity.plan import load_plan
from vapray.cli.app import app
from vapray.config.loader import load_config
from vapray.experiments.spec import read_experiment
from vapray.pipeline.stage_names import STAGES_OF_JOB

README = ROOT / "README.md"
INDEX = ROOT / "docs" / "index.md"
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
PATH = re.compile(r"(?<![\w./-])((?:vapray|serve|jobs|tests|cluster|results|docs)/[\w./*-]*[\w/*])(?![\w=])")
MODULE = re.compile(r"python -m ((?:jobs|tests)\.(?!NAME)[\w.]*\w)")
HISTORY = {ROOT / name for name in ("CHANGELOG.md", "RESULTS.md", "tests/benchmarks/NOTES.md", "tests/README.md")}
"""Pages that also name what is not there any more."""
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
CHECKED = [
    block
    for block in BLOCKS
    if block.language in ("sh", "console") and not (block.runs and block.page.parent.name == "contributing")
]
"""Blocks of commands. The guides to contributing use stages and values that they add themselves; there, running them is
the check."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_and_named_files_exist(page):
    text = page.read_text()
    assert [link for link in LINK.findall(text) if not (page.parent / link).exists()] == []
    if page in HISTORY:
        return
    modules = {f"{name.replace('.', '/')}.py" for name in MODULE.findall(text)}
    made = {block.attribute("file") for block in BLOCKS if block.page == page}
    named = {path.rstrip("/") for path in {*PATH.findall(text), *modules}} - made
    missing = {path for path in named if not any((*ROOT.glob(path), *page.parent.glob(path)))}
    assert missing == set()


def test_the_readme_is_short_and_the_index_links_every_page():
    assert len(README.read_text().splitlines()) <= 180
    assert INDEX in {(README.parent / link).resolve() for link in LINK.findall(README.read_text())}
    linked = {(INDEX.parent / link).resolve() for link in LINK.findall(INDEX.read_text())}
    assert set(PAGES) - {INDEX} <= linked


def test_every_block_has_a_language_and_says_what_it_needs():
    assert [block.place for block in BLOCKS if not block.is_well_formed] == []
    assert [block.place for block in BLOCKS if block.language == "yaml" and not yaml.safe_load(block.text)] == []


@pytest.mark.parametrize("block", [one for one in BLOCKS if one.language == "diff"], ids=lambda block: block.place)
def test_the_changes_of_a_guide_apply_to_the_present_code(block: Block):
    command = ["git", "apply", "--check", "--unidiff-zero", "-"]
    done = subprocess.run(command, cwd=ROOT, input=block.text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", CHECKED, ids=lambda block: block.place)
def test_the_commands_of_a_block_exist_with_their_options_and_settings(block: Block, monkeypatch):
    monkeypatch.chdir(ROOT)
    for words in commands_of(block):
        check(words)


def check(words: Sequence[str]) -> None:
    """Check a command without running it; what is not of this project is taken as it is."""
    program, *rest = [Path(words[0]).name, *words[1:]]
    if program == "make":
        assert re.search(rf"^{rest[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif program == "vapray":
        check_vapray(rest)
    elif program == "python" and rest[:1] == ["-m"] and rest[1].startswith("jobs."):
        check_vapray(["run", rest[1].removeprefix("jobs."), *rest[2:]])
    elif "--editable" in words:
        (named,) = re.findall(r"\[(.+)\]", words[-1])
        assert set(named.split(",")) <= set(EXTRAS)


def check_vapray(words: Sequence[str]) -> None:
    """Parse the options of ``vapray`` and check the settings that they name."""
    name, *arguments = words
    command = typer.main.get_command(app).commands[name]
    given = command.make_context(name, list(arguments)).params
    if name == "capacity":
        load_plan(None, given["plan"])
    elif name == "experiment":
        read_experiment(given["file"])
    elif "overrides" in given and is_of_the_project(given.get("config")):
        assert given.get("stage", "pipeline") in {"pipeline", *STAGES_OF_JOB}
        load_config(given.get("config"), given["overrides"] or (), preset=given["preset"])


def is_of_the_project(file: str | None) -> bool:
    return file is None or (ROOT / file).exists()
