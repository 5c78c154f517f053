"""Sampling parameters that an OpenAI-compatible server accepts, as learned from its refusals.

Servers differ: some accept ``max_completion_tokens`` instead of ``max_tokens``, some have no ``seed``, and reasoning
models fix ``temperature`` and ``top_p``. The response to a refused parameter is 400 or 422 and names the parameter.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["ServerParameters", "setting_of"]

SETTINGS = {
    "max_tokens": "caption.max_tokens",
    "max_completion_tokens": "caption.max_tokens",
    "temperature": "caption.temperature",
    "top_p": "caption.top_p",
    "seed": "run.seed",
    "response_format": "caption.structured_output",
}
"""Setting behind each parameter of a request."""
REPLACEMENTS = {"max_tokens": "max_completion_tokens", **dict.fromkeys(("temperature", "top_p", "seed"))}
"""Parameters that a request can do without, each with its other name, or None."""
_REFUSAL = re.compile(
    r"unsupported|not supported|n[o']t support|unknown|unrecogni[sz]ed|unexpected|extra_forbidden|extra inputs"
    r"|extraneous|not permitted|not allowed|cannot both|deprecated|no such",
    re.IGNORECASE,
)


class ServerParameters:
    """Parameters that one server accepts: all of them, until it refuses one."""

    def __init__(self) -> None:
        self._names: dict[str, str | None] = {name: name for name in REPLACEMENTS}

    def adapt(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Rename or drop the parameters that the server has refused."""
        named = ((self._names.get(name, name), value) for name, value in given.items())
        return {name: value for name, value in named if name is not None}

    def learn(self, sent: Iterable[str], refusal: str) -> bool:
        """Learn from a refusal.

        Args:
            sent: names of the parameters of the refused request.
            refusal: text of the response.

        Returns:
            True if the request should be sent again: :meth:`adapt` then replaces or drops a parameter of ``sent``.
        """
        refused = _refused_parameter(_REPLACEABLE.intersection(sent), refusal)
        if refused is None:
            return False
        for name, theirs in self._names.items():
            if theirs == refused:  # unless a concurrent request has met the same refusal
                self._names[name] = REPLACEMENTS.get(refused)
        return True


_REPLACEABLE = {*REPLACEMENTS, *filter(None, REPLACEMENTS.values())}


def setting_of(refusal: str) -> str | None:
    """Find the setting behind the parameter that a refusal names first; None if it names none."""
    named = _mentioned(SETTINGS, refusal)
    return SETTINGS[named[0]] if named else None


def _refused_parameter(names: Iterable[str], refusal: str) -> str | None:
    """Find the refused parameter: the first one mentioned, or the last of several that exclude one another."""
    named = _mentioned(names, refusal) if _REFUSAL.search(refusal) else []
    return named[-1 if re.search(r"\bboth\b", refusal) else 0] if named else None


def _mentioned(names: Iterable[str], text: str) -> list[str]:
    """List the names that a text mentions as whole words, by their first place."""
    places = {name: match.start() for name in names if (match := re.search(rf"\b{name}\b", text))}
    return sorted(places, key=lambda name: places[name])
