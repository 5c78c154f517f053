"""Plain text of Markdown: one block for each paragraph, list item, heading and table row."""

import re
from collections.abc import Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token

__all__ = ["plain_blocks"]

# Indented code and quotes are off: models indent list items, and a line may begin with "> 5 mm".
_MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"]).disable(["code", "blockquote"])
_SYMBOLS = "\U0001f300-\U0001faff\u2600-\u27bf"
_TO_MARKDOWN = (
    (re.compile(r"\A\s*[\"“](.*)[\"”]\s*\Z", re.DOTALL), r"\1"),
    (re.compile(r"\\(?:boxed|text)\{([^{}]*)\}"), r"\1"),
    (re.compile(r"^[ \t]*>[ \t]*(?=[A-Za-z*_#>-])", re.MULTILINE), ""),
    (re.compile(rf"^([ \t]*)(?:[•◦▪▫‣·●○–—]|[{_SYMBOLS}][\ufe0f\u200d]*)[ \t]*(?=\S)", re.MULTILINE), r"\1- "),
    (re.compile(r"^([ \t]*)\(?(?:[a-h]|[ivx]{1,4}|\d{1,2})\)[ \t]+", re.MULTILINE), r"\1- "),
    (re.compile(r"(?<=\d) ?\* ?(?=\d)"), " × "),
)
"""Other marks of quotes, boxes, lists and products, with what Markdown writes for them."""
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<!--.*?-->", re.DOTALL)
_EMOJI = re.compile(rf"[{_SYMBOLS}\ufe0f\u200d]+")
_LABELLED = re.compile(r"\n(?=[A-Z][\w /()-]{0,40}:\s)")


def plain_blocks(text: str) -> Iterator[str]:
    """Split Markdown into blocks of plain text, each without a line break.

    A heading ends with a colon. A table row of two columns is ``label: value``; each cell of a wider table has its
    column's heading as its label.
    """
    for pattern, replacement in _TO_MARKDOWN:
        text = pattern.sub(replacement, text)
    for block in _blocks(_MARKDOWN.parse(text)):
        yield from (line for part in _LABELLED.split(block) if (line := re.sub(r"\s+", " ", part).strip()))


def _blocks(tokens: Sequence[Token]) -> Iterator[str]:
    header: list[str] = []
    cells: list[str] = []
    kind = ""
    for token in tokens:
        if token.type == "inline":
            text = _inline(token.children or ())
            if kind in ("th_open", "td_open"):
                cells.append(text)
            else:
                yield _as_label(text) if kind == "heading_open" or _is_strong(token.children or ()) else text
        elif token.type == "tr_close":
            if kind == "th_close":
                header = cells
            else:
                yield _row(header, cells)
            cells = []
        elif token.type == "fence":
            yield from _blocks(_MARKDOWN.parse(token.content))
        elif token.type == "html_block":
            yield _TAG.sub(" ", token.content)
        kind = token.type


def _inline(children: Sequence[Token]) -> str:
    text, before = "", ""
    for child in children:
        if child.type in ("softbreak", "hardbreak") or child.content.lower().startswith("<br"):
            text = (_as_label(text) if before == "strong_close" else text) + "\n"
        elif child.type != "html_inline":
            text += child.content
        before = child.type if child.type != "text" or child.content else before
    return _EMOJI.sub("", text)


def _is_strong(children: Sequence[Token]) -> bool:
    kinds = [child.type for child in children if child.type != "text" or child.content]
    return kinds == ["strong_open", "text", "strong_close"]


def _as_label(heading: str) -> str:
    heading = re.sub(r"^\d+[.)]\s+", "", heading)
    return heading if heading.rstrip().endswith((".", ":", "!", "?")) else f"{heading}:"


def _row(header: Sequence[str], cells: Sequence[str]) -> str:
    if len(cells) == 2:
        return f"{cells[0].rstrip(':')}: {cells[1]}"
    return "; ".join(f"{name}: {cell}" if name else cell for name, cell in zip(header, cells, strict=False) if cell)
