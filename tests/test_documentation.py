"""Links and named files of the documentation, and the length of the README."""

import re

import pytest

from tests.conftest import ROOT

README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [README, ROOT / "CONTRIBUTING.md", *DOCS, *sorted((ROOT / "cluster").glob("*.md"))]
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
PATH = re.compile(r"(?<![\w./-])((?:vapray|serve|jobs|tests|cluster|results|docs)/[\w./*-]*[\w/*])(?![\w=])")
MODULE = re.compile(r"python -m ((?:jobs|tests)\.(?!NAME)[\w.]*\w)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_and_named_files_exist(page):
    text = page.read_text()
    modules = {f"{name.replace('.', '/')}.py" for name in MODULE.findall(text)}
    named = {path.rstrip("/") for path in {*PATH.findall(text), *modules}}
    missing = {path for path in named if not any((*ROOT.glob(path), *page.parent.glob(path)))}
    assert missing == set()
    assert [link for link in LINK.findall(text) if not (page.parent / link).exists()] == []


def test_the_readme_is_short_and_links_every_page():
    text = README.read_text()
    assert len(text.splitlines()) <= 180
    assert {f"docs/{page.name}" for page in DOCS} <= set(LINK.findall(text))
