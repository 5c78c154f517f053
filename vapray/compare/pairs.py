"""Pairs of generated images of two runs: of the same caption and seed if possible, otherwise of the same class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from vapray.compare.lineage import FinishedRun
from vapray.data.decode import decode
from vapray.report.page import Image

__all__ = ["ClassPairs", "Pair", "class_pairs"]

PAIRS_OF_A_CLASS = 6
Rows = Mapping[tuple[str, int], dict[str, Any]]


@dataclass(frozen=True)
class Pair:
    """One image of each run."""

    first: Image
    second: Image
    caption: str
    """Caption of both images; empty if the captions differ."""
    seed: int


@dataclass(frozen=True)
class ClassPairs:
    """Pairs of one class."""

    class_name: str
    same: bool
    """True if class, caption and seed agree in each pair, so that only the runs differ."""
    pairs: Sequence[Pair]


def class_pairs(first: FinishedRun, second: FinishedRun) -> list[ClassPairs]:
    """Select pairs for each class that both runs sampled."""
    ours, theirs = _by_class(first), _by_class(second)
    return [_pairs(name, ours[name], theirs[name]) for name in first.class_names if name in ours and name in theirs]


def _by_class(run: FinishedRun) -> dict[str, Rows]:
    table = run.versions["samples"].read(["sample_id", "arm", "class", "caption", "seed", "png"])
    found: dict[str, dict[tuple[str, int], dict[str, Any]]] = {}
    for row in table.filter(pc.field("arm") == "generated").to_pylist():
        found.setdefault(row["class"], {})[row["caption"], row["seed"]] = row
    return dict(found)


def _pairs(name: str, ours: Rows, theirs: Rows) -> ClassPairs:
    shared = [(ours[key], theirs[key]) for key in ours if key in theirs]
    beside = shared or list(zip(ours.values(), theirs.values(), strict=False))
    return ClassPairs(
        name,
        bool(shared),
        [
            Pair(decode(one["png"]), decode(two["png"]), one["caption"] if shared else "", one["seed"])
            for one, two in beside[:PAIRS_OF_A_CLASS]
        ],
    )
