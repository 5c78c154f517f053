"""Captions of at most the length that a text encoder takes."""

import bisect
import re

from vapray.bank.text_encoder import TextEncoder
from vapray.captioning.sentences import sentence_ends

__all__ = ["cut_to_fit"]


def cut_to_fit(caption: str, encoder: TextEncoder) -> str:
    """Cut a caption to ``encoder.max_tokens``, at the last sentence's end that fits.

    A caption whose first sentence is too long is cut at a clause's or a word's end.

    Returns:
        The longest such beginning; the caption itself if it fits, or if its first word alone is too long.
    """
    if encoder.count_tokens(caption) <= encoder.max_tokens:
        return caption
    clauses = [match.start() for match in re.finditer(r"[;,]\s", caption)]
    words = [match.end() for match in re.finditer(r"\w+(?:['-]\w+)*", caption)]
    for ends in (sentence_ends(caption), clauses, words):
        fitting = bisect.bisect_right(ends, encoder.max_tokens, key=lambda end: encoder.count_tokens(caption[:end]))
        if fitting and encoder.count_tokens(cut := caption[: ends[fitting - 1]]):
            return cut
    return caption
