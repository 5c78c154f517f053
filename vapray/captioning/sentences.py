"""Sentences of English text: their ends, and cutting at them."""

import itertools
import re

__all__ = ["cut_at_sentence_end", "sentence_ends", "split_sentences"]

_END = re.compile(
    r"(?<!\be\.g)(?<!\bi\.e)(?<!\bapprox)(?<!\bvs)(?<!\bcf)(?<!\bca)(?<!\b[DM]r)(?<!\bMrs)"
    r"(?:(?<!\d)[.!?]+[\"')\]*_”’]*(?=\s|$)|(?<=\d)[.!?]+[\"')\]*_”’]*(?=\s))"
)
"""End of a sentence. A point behind a digit at the end of the text may be inside a number that was cut off."""


def sentence_ends(text: str) -> list[int]:
    """List the positions behind the ends of all complete sentences."""
    return [match.end() for match in _END.finditer(text)]


def split_sentences(text: str) -> list[str]:
    """Split one paragraph into its sentences, without the space between them."""
    ends = [0, *sentence_ends(text), len(text)]
    pieces = (text[begin:end].strip() for begin, end in itertools.pairwise(ends))
    return [piece for piece in pieces if piece]


def cut_at_sentence_end(text: str) -> str:
    """Cut a text that breaks off behind its last complete sentence or line; empty if it has none."""
    return text[: max([*sentence_ends(text), text.rfind("\n"), 0])].rstrip()
