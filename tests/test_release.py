"""A release states one version everywhere, and its list of dependencies is complete."""

import re
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from release.check import disagreements, version_of
from tests.conftest import ROOT
from vapray import __version__

FILES = ("vapray/__init__.py", "CHANGELOG.md", "CITATION.cff")
SECTIONS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")


@pytest.fixture
def release(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_version_changelog_and_citation_agree(release: Path) -> None:
    assert version_of(release) == __version__
    assert disagreements(release) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("vapray/__init__.py", f'"{__version__}"', '"9.9.9"', ["the version is 9.9.9", "CITATION.cff: version is"]),
        ("CHANGELOG.md", f"## [{__version__}] - ", "## [Unreleased] - ", ["the first section is '[Unreleased]"]),
        ("CITATION.cff", f"version: {__version__}", "version: 0.0.1", ["CITATION.cff: version is 0.0.1", "Fix: set"]),
        ("CITATION.cff", "date-released: ", "date: ", ["CITATION.cff: date-released is missing"]),
    ],
)
def test_a_disagreement_is_named_with_its_fix(release: Path, name: str, old: str, new: str, said: list[str]) -> None:
    text = (release / name).read_text()
    assert old in text
    (release / name).write_text(text.replace(old, new))
    found = "\n".join(disagreements(release))
    assert all(words in found for words in said) and "Fix: " in found


def test_the_changelog_has_one_line_an_entry_in_sections_of_keep_a_changelog() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text().split("\n## [", 1)[1].splitlines()
    sections = [line.removeprefix("### ") for line in lines if line.startswith("### ")]
    assert set(sections) <= set(SECTIONS)
    entries = [line for line in lines[1:] if line and not line.startswith(("#", "To upgrade"))]
    assert not [line for line in entries if not re.fullmatch(r"- .{1,140}|## \[\d+\.\d+\.\d+\] - [\d-]{10}", line)]


def test_the_citation_names_the_software_and_the_paper() -> None:
    """``make release`` validates it against the schema of the Citation File Format."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (cited["title"], cited["license"], cited["type"]) == ("vapray", "Apache-2.0", "software")
    (paper,) = cited["references"]
    assert paper["url"].endswith("2506.23641") and paper["title"].startswith("VAP-Diffusion: ")
    assert [one["family-names"] for one in paper["authors"]] == ["Huang", "Fu", "Guo", "Li", "Wang", "Guo"]


def test_the_locked_versions_satisfy_the_project_and_agree_with_the_constraints() -> None:
    locked = pins("release/core.txt")
    needed = map(Requirement, tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
    assert not [one for one in needed if not one.specifier.contains(locked.get(canonicalize_name(one.name), ""))]
    constraints = pins("constraints.txt")
    assert {name: locked[name] for name in locked.keys() & constraints.keys()}.items() <= constraints.items()


def pins(name: str) -> dict[str, str]:
    lines = (line.split("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return {canonicalize_name(package): version for line in lines if line for package, version in [line.split("==")]}
