"""Visual attributes of one image, and their agreement with expected ones."""

import json
import math

from vapray.captioning.prompt_set import PromptSet

Attribute = str | float | tuple[str, ...]
Attributes = dict[str, Attribute]

SHARE_TOLERANCE = 0.2
"""Difference of shares from which the agreement is 0; at half of it the agreement is 0.5."""


def agreement(found: Attributes, wanted: Attributes, prompt_set: PromptSet) -> dict[str, float]:
    """Score every attribute that ``wanted`` holds, from 0 (wrong) to 1 (right).

    A choice is right when equal, a set scores its Jaccard index, a share max(0, 1 - |difference| / 0.2).

    Returns:
        One score per attribute of the prompt set that ``wanted`` mentions; NaN where ``found`` lacks it.
    """
    return {
        name: _score(spec.kind, found[name], wanted[name]) if name in found else math.nan
        for name, spec in prompt_set.attributes.items()
        if name in wanted
    }


def _score(kind: str, found: Attribute, wanted: Attribute) -> float:
    if kind == "share":
        return max(0.0, 1.0 - abs(float(found) - float(wanted)) / SHARE_TOLERANCE)  # type: ignore[arg-type]
    if kind == "set":
        union = set(found) | set(wanted)  # type: ignore[arg-type]
        return len(set(found) & set(wanted)) / len(union) if union else 1.0  # type: ignore[arg-type]
    return float(found == wanted)


def attributes_from_json(text: str) -> Attributes:
    """Parse attributes from a table's JSON, whose lists become tuples."""
    found = json.loads(text).items()
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found}
