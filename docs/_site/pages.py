"""Sphinx extension: changes to the text of a page before it is parsed.

- The navigation is that of ``docs/index.md``: each of its sections that lists pages becomes a part of the sidebar.
- A block ```` ```{generated} NAME ```` is replaced by reference pages made from the code.
- A block with ``needs="..."`` or ``file="..."`` in its first line gets that as its caption.
"""

import importlib
import posixpath
import re

from sphinx.application import Sphinx

SECTION = re.compile(r"^## (?P<title>.+)\n(?P<body>(?:(?!## ).*\n?)*)", re.MULTILINE)
ENTRY = re.compile(r"^[-*] \[([^]]+)\]\(([^)#:]+)\.md\)", re.MULTILINE)
GENERATED = re.compile(r"^```\{generated\} (\w+)\n```$", re.MULTILINE)
CAPTIONED = re.compile(r'^```(?P<language>\w+) (?P<kind>needs|file)="(?P<text>[^"]+)"$', re.MULTILINE)
LABELS = {"needs": "Needs: {}", "file": "`{}`"}


def navigation(index: str, folder: str) -> str:
    """Build the table-of-contents trees of a page, from its sections and the pages that they list."""
    trees = []
    for section in SECTION.finditer(index):
        listed = [
            f"{title} </{posixpath.normpath(posixpath.join(folder, path))}>"
            for title, path in ENTRY.findall(section["body"])
        ]
        if listed:
            lines = ["```{toctree}", ":hidden:", f":caption: {section['title']}", "", *listed, "```", ""]
            trees.append("\n".join(lines))
    return "\n".join(trees)


def with_captions(text: str) -> str:
    """Turn ``needs`` and ``file`` of code blocks into captions."""

    def directive(block: re.Match[str]) -> str:
        caption = LABELS[block["kind"]].format(block["text"])
        return f"```{{code-block}} {block['language']}\n:caption: {caption!r}\n"

    return CAPTIONED.sub(directive, text)


def with_generated(text: str) -> str:
    """Replace the blocks of generated reference by their Markdown."""
    return GENERATED.sub(lambda block: importlib.import_module(f"generated.{block[1]}").markdown(), text)


def prepare(app: Sphinx, page: str, source: list[str]) -> None:
    """Prepare the text of a page; a listener of ``source-read``."""
    text = with_captions(with_generated(source[0]))
    source[0] = f"{text}\n{navigation(text, posixpath.dirname(page))}" if page == app.config.root_doc else text


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("source-read", prepare)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
