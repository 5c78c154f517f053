"""Rules of the source text: the first words of docstrings and the length of files."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

FILES = sorted(path for name in ("vapray", "serve", "jobs") for path in (ROOT / name).rglob("*.py"))
QUESTION = re.compile(r"(What|Of|How|Whether|Where|Who)\b")
MOST_LINES = 250
MAX_LINES = {"vapray/export/vap_diffusion.py": 450}
"""Limits of single files; ``MOST_LINES`` for all others. The exported module holds the method on one page."""


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Texts that stand alone as statements: docstrings of modules, classes, functions and fields."""
    for node in ast.walk(ast.parse(path.read_text())):
        for statement in getattr(node, "body", None) or () if not isinstance(node, ast.Lambda | ast.IfExp) else ():
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                yield statement.lineno, str(statement.value.value).strip()


def test_the_search_finds_docstrings_of_fields():
    texts = [text for _, text in docstrings(ROOT / "vapray" / "config" / "captioning.py")]
    assert len(texts) > 20


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_docstrings_say_what_a_thing_is_and_files_are_short(path):
    assert [found for found in docstrings(path) if QUESTION.match(found[1])] == []
    assert number_of_lines(path) <= MAX_LINES.get(path.relative_to(ROOT).as_posix(), MOST_LINES)


def test_files_of_the_tests_are_short():
    numbers = {path.relative_to(ROOT).as_posix(): number_of_lines(path) for path in (ROOT / "tests").rglob("*.py")}
    assert {path: number for path, number in numbers.items() if number > MOST_LINES} == {}


def number_of_lines(path: Path) -> int:
    return len(path.read_text().splitlines())
