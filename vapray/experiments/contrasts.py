"""Statistics of contrasts: seeds are the replicates, and runs with the same seed are pairs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from scipy import stats

from vapray.experiments.spec import Contrast, Experiment
from vapray.metrics.intervals import t_interval
from vapray.metrics.multiple_tests import holm

__all__ = ["ContrastResult", "Difference", "findings"]

LEVEL = 0.95
Numbers = Mapping[tuple[str, str, int, str], float]
"""(row, measure, seed, number) -> value."""


@dataclass(frozen=True)
class Difference:
    """Second row minus first under one measure, over seeds.

    Attributes:
        mean: over pairs.
        low: of the paired t-interval at ``LEVEL``; NaN with fewer than two pairs.
        high: of it.
        p: two-sided, of the paired t-test; NaN with fewer than two pairs.
        pairs: number of seeds that both rows have.
    """

    mean: float
    low: float
    high: float
    p: float
    pairs: int


@dataclass(frozen=True)
class ContrastResult:
    """Result of one contrast.

    Attributes:
        contrast: the compared rows and number.
        differences: by measure.
        p_holm: of the first measure, corrected over the primary contrasts; NaN for one that is not primary.
        resolved: all seeds are finished under every measure, the first one's interval leaves out 0, its corrected p is
            below 1 - ``LEVEL``, and the sign is the same under all.
        equivalent: all seeds are finished, and the first measure's interval lies within the contrast's
            ``equivalence_margin`` of the baseline's excess over real images.
    """

    contrast: Contrast
    differences: Mapping[str, Difference]
    p_holm: float
    resolved: bool
    equivalent: bool = False


def findings(experiment: Experiment, numbers: Numbers) -> list[ContrastResult]:
    """Compute the findings of all contrasts, in their order."""
    found = [_differences(experiment, contrast, numbers) for contrast in experiment.contrasts]
    first = next(iter(experiment.evaluators))
    primary = [place for place, contrast in enumerate(experiment.contrasts) if contrast.primary]
    corrected = dict(zip(primary, holm([found[place][first].p for place in primary]), strict=True))
    return [
        ContrastResult(
            contrast,
            found[place],
            corrected.get(place, math.nan),
            _resolved(found[place], corrected.get(place), len(experiment.seeds)),
            _is_equivalent(experiment, contrast, found[place][first], numbers),
        )
        for place, contrast in enumerate(experiment.contrasts)
    ]


def _differences(experiment: Experiment, contrast: Contrast, numbers: Numbers) -> dict[str, Difference]:
    return {
        measure: _paired(
            [
                numbers.get((contrast.treatment, measure, seed, contrast.metric), math.nan)
                - numbers.get((contrast.baseline, measure, seed, contrast.metric), math.nan)
                for seed in experiment.seeds
            ]
        )
        for measure in experiment.evaluators
    }


def _paired(differences: Sequence[float]) -> Difference:
    known = [one for one in differences if math.isfinite(one)]
    mean = fmean(known) if known else math.nan
    interval = t_interval(known, level=LEVEL)
    if interval is None:
        return Difference(mean, math.nan, math.nan, math.nan, len(known))
    spread = interval.high > interval.low
    p = float(stats.ttest_1samp(known, 0.0).pvalue) if spread else float(mean == 0)
    return Difference(mean, interval.low, interval.high, p, len(known))


def _is_equivalent(experiment: Experiment, contrast: Contrast, found: Difference, numbers: Numbers) -> bool:
    if contrast.equivalence_margin is None or found.pairs < len(experiment.seeds) or math.isnan(found.low):
        return False
    measure = next(iter(experiment.evaluators))
    excesses = [
        numbers.get((contrast.baseline, measure, seed, contrast.metric), math.nan)
        - numbers.get((contrast.baseline, measure, seed, contrast.floor), math.nan)
        for seed in experiment.seeds
    ]
    margin = contrast.equivalence_margin * abs(fmean(excesses))
    return -margin < found.low and found.high < margin


def _resolved(differences: Mapping[str, Difference], p_holm: float | None, seeds: int) -> bool:
    first = next(iter(differences.values()))
    is_whole = all(one.pairs == seeds for one in differences.values())
    if not is_whole or math.isnan(first.low) or first.low <= 0 <= first.high:
        return False
    agree = all(math.copysign(1, one.mean) == math.copysign(1, first.mean) for one in differences.values())
    return agree and (p_holm is None or p_holm < 1 - LEVEL)
