"""Means of classifier scores over seeds, as records and as a Markdown table."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vapray.metrics.intervals import Interval, t_interval

__all__ = ["REGIME", "Group", "Mean", "markdown", "summarize"]

Row = Mapping[str, Any]
REGIME = "generator trained on all real training images of the run, whatever share the classifier is given"
BASELINE = "real"
HEAD = [
    "network", "real share", "n real", "n synthetic", "arm", "steps", "seeds",
    "mAUC", "over real", "macro F1", "over real",
]  # fmt: skip
PAGE = """\
# Does synthetic data help a classifier?

Regime: {regime}. Tested on {test}; none of their lesions or patients is in the training data.

Brackets are 95 % intervals of the mean over seeds (Student's t). A share has the same images for all seeds and arms,
so the intervals do not include the choice of images. Gains are over the arm `real`, with the same seeds.

{table}

Research only; not for clinical use.
"""


@dataclass(frozen=True)
class Mean:
    """Mean of a score over seeds.

    Attributes:
        value: The mean.
        interval: 95 % interval of the mean; None for a single seed.
    """

    value: float
    interval: Interval | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Mean":
        """Compute the mean of values, with its interval."""
        return cls(float(np.mean(values)), t_interval(values))


@dataclass(frozen=True)
class Group:
    """One line of the table: classifiers that differ only by their seeds.

    Attributes:
        network: Name, as in ``downstream.networks``.
        share: Share of the real groups of each class.
        n_real: Number of real training images.
        n_real_groups: Number of lesions or patients among them.
        n_synthetic: Number of generated training images.
        arm: Training data, as in ``downstream.arms``.
        steps: Number of optimizer steps.
        seeds: Number of classifiers.
        auc: Mean of mAUC.
        f1: Mean of macro F1.
        auc_gain: Mean difference of mAUC to the arm ``real`` with the same seed; None for that arm or without it.
        f1_gain: Mean difference of macro F1, likewise.
    """

    network: str
    share: float
    n_real: int
    n_real_groups: int
    n_synthetic: int
    arm: str
    steps: int
    seeds: int
    auc: Mean
    f1: Mean
    auc_gain: Mean | None
    f1_gain: Mean | None


def summarize(rows: Sequence[Row]) -> list[Group]:
    """Group the rows of table ``downstream`` over seeds, in the order of their first rows."""
    members: dict[tuple[str, float, str], dict[int, Row]] = defaultdict(dict)
    for row in rows:
        members[row["network"], row["share"], row["arm"]][row["seed"]] = row
    return [
        _group(by_seed, members.get((network, share, BASELINE)) if arm != BASELINE else None)
        for (network, share, arm), by_seed in members.items()
    ]


def _group(by_seed: Mapping[int, Row], baseline: Mapping[int, Row] | None) -> Group:
    first = next(iter(by_seed.values()))
    names = ("network", "share", "n_real", "n_real_groups", "n_synthetic", "arm", "steps")
    return Group(
        **{name: first[name] for name in names},
        seeds=len(by_seed),
        auc=Mean.of([row["auc"] for row in by_seed.values()]),
        f1=Mean.of([row["f1"] for row in by_seed.values()]),
        auc_gain=_gain("auc", by_seed, baseline or {}),
        f1_gain=_gain("f1", by_seed, baseline or {}),
    )


def _gain(name: str, by_seed: Mapping[int, Row], baseline: Mapping[int, Row]) -> Mean | None:
    """Mean difference between classifiers of equal initial weights, which cancels the effect of the seed."""
    differences = [row[name] - baseline[seed][name] for seed, row in by_seed.items() if seed in baseline]
    return Mean.of(differences) if differences else None


def markdown(groups: Sequence[Group], test: str) -> str:
    """Format the table as Markdown.

    Args:
        groups: Lines of the table.
        test: Description of the test images.
    """
    lines = [HEAD, ["---"] * len(HEAD), *(_cells(group) for group in groups)]
    return PAGE.format(regime=REGIME, test=test, table="\n".join(f"| {' | '.join(cells)} |" for cells in lines))


def _cells(group: Group) -> list[str]:
    counts = [f"{group.n_real:,}", f"{group.n_synthetic:,}", group.arm, f"{group.steps:,}", str(group.seeds)]
    numbers = [_said(group.auc), _said(group.auc_gain, "+"), _said(group.f1), _said(group.f1_gain, "+")]
    return [group.network, f"{100 * group.share:g} %", *counts, *numbers]


def _said(mean: Mean | None, sign: str = "") -> str:
    if mean is None:
        return ""
    between = f" [{mean.interval.low:{sign}.3f}, {mean.interval.high:{sign}.3f}]" if mean.interval else ""
    return f"{mean.value:{sign}.3f}{between}"
