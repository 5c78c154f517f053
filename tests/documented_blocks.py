"""Code blocks of the documentation: their language, what they need, and the file that they are."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

__all__ = ["BLOCKS", "LANGUAGES", "PAGES", "Block", "commands_of"]

PLACES = ("*.md", "docs/**/*.md", "cluster/*.md", "tests/README.md", "tests/benchmarks/NOTES.md")
PAGES = [page for place in PLACES for page in sorted(ROOT.glob(place))]
LANGUAGES = {"sh", "python", "yaml", "diff", "console", "text", "{generated}"}
"""sh, python: run by a test unless they say what they need; yaml, python with a file: written; diff: applied; console:
commands with their output, which tests of their own run; text: output and file trees."""
FENCE = re.compile(r"^```(\S*)(?: ([^\n]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ATTRIBUTE = re.compile(r'(needs|file)="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """One fenced block; ``needs`` and ``file`` are empty unless its first line states them."""

    page: Path
    line: int
    language: str
    info: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def attribute(self, name: str) -> str:
        return dict(ATTRIBUTE.findall(self.info)).get(name, "")

    @property
    def is_well_formed(self) -> bool:
        return self.language in LANGUAGES and ATTRIBUTE.sub("", self.info).strip() in ("", self.generated)

    @property
    def generated(self) -> str:
        return self.info if self.language == "{generated}" else ""

    @property
    def runs(self) -> bool:
        return self.language in ("sh", "python", "diff") and not self.attribute("needs")


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for match in FENCE.finditer(text):
        line = text[: match.start()].count("\n") + 1
        yield Block(page, line, match[1], match[2] or "", match[3])


def commands_of(block: Block) -> Iterator[list[str]]:
    """Words of each command of a shell block, or after ``$`` of a transcript; comments and assignments are left out."""
    text = block.text.replace("\\\n", " ")
    if block.language == "console":
        text = "\n".join(line[2:] for line in text.splitlines() if line.startswith("$ "))
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"\w+=.*", words[0]):
            words.pop(0)
        if words:
            yield words


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
