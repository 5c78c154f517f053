"""Visual attributes of one image, and how well those that were found match those that were wanted."""

import json
import math
from collections import Counter
from collections.abc import Sequence

from vapray.captioning.prompt_set import PromptSet

Attribute = str | float | tuple[str, ...]
Attributes = dict[str, Attribute]

SHARE_TOLERANCE = 0.2
"""A share that is off by this much agrees no more; 0.1 off is half right."""

ENTROPY_BIN = 0.1


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
    """Attributes as a table holds them: JSON knows lists and no tuples."""
    found = json.loads(text).items()
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found}


def caption_entropy(rows: Sequence[Attributes], prompt_set: PromptSet) -> dict[str, float]:
    """Entropy in bits of each attribute over many captions; a constant caption has 0 everywhere.

    Shares are counted in bins of ten points; not to mention an attribute counts as a value of its own.
    """
    return {name: _entropy([_bin(row.get(name)) for row in rows]) for name in prompt_set.attributes}


def _bin(value: Attribute | None) -> object:
    return int(value / ENTROPY_BIN + 1e-9) if isinstance(value, float) else value


def _entropy(values: Sequence[object]) -> float:
    counts = Counter(values).values()
    return sum(count / len(values) * math.log2(len(values) / count) for count in counts)
