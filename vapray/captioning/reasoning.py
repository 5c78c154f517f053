"""Reasoning blocks in the answers of thinking models."""

import re

__all__ = ["opened_reasoning", "reads_like_reasoning", "remove_reasoning"]

_NAMES = "think|thinking|thought|thoughts|reasoning|reflection|analysis|seed:think"
_OPEN = re.compile(
    rf"<(?:{_NAMES})>|\[THINK\]|◁think▷|<unused94>|<\|channel\|?>\s*(?:analysis|thought)|<\|begin_of_thought\|>"
    r"|\A\s*thought\n",  # an engine that hides special tokens hides <unused94> and <unused95> too
    re.IGNORECASE,
)
_CLOSE = re.compile(
    rf"</(?:{_NAMES})>|\[/THINK\]|◁/think▷|<unused95>|<\|channel\|?>\s*final\s*<\|message\|>|<channel\|>"
    r"|<\|end_of_thought\|>",
    re.IGNORECASE,
)
_ANSWER_TAG = re.compile(
    r"</?(?:answer|response|output|final)>|<\|(?:begin|end)_of_(?:box|solution)\|>|<\|(?:return|end|message)\|>",
    re.IGNORECASE,
)
_UNTAGGED = re.compile(
    r"\bthe user(?:'s)?\b|(?:\A|[.!?\n]\s*)(?:wait|hmm+|let me think|let me (?:re)?check|let me see)\b"
    r"|\bI (?:need|have|ought) to (?:describe|provide|answer|respond|write|make sure|be careful|avoid|focus|follow)\b",
    re.IGNORECASE,
)


def remove_reasoning(answer: str) -> str | None:
    """Remove the reasoning of a model from its answer.

    A chat template may write the opening tag into the prompt, so an answer may have the closing one only.

    Args:
        answer: text as the model wrote it.

    Returns:
        The text behind the last closing tag, unchanged for an answer without reasoning; None if the answer ends within
        its reasoning, or with it.
    """
    closings = [match.end() for match in _CLOSE.finditer(answer)]
    rest = _ANSWER_TAG.sub("", answer[closings[-1] :].strip() if closings else answer)
    return None if _OPEN.search(rest) or (closings and not rest.strip()) else rest


def opened_reasoning(prompt: str) -> str:
    """Return the opening tag with which a chat template ends a prompt; empty for none."""
    last = prompt.rstrip().rpartition("\n")[2]
    opening = _OPEN.search(last)
    return opening.group() if opening and last.endswith(opening.group()) else ""


def reads_like_reasoning(text: str) -> bool:
    """Return True if a text without tags reads like a model's reasoning about its task."""
    return bool(_UNTAGGED.search(text.replace("’", "'")))
