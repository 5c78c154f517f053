"""Gains of classifiers by group of the test images: balanced accuracy with generated images minus without."""

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from vapray.data.image_groups import Grouping, group_images
from vapray.data.origins import UNKNOWN
from vapray.downstream.summary import BASELINE
from vapray.metrics.group_differences import (
    Difference,
    Estimate,
    balanced_mean,
    compare_groups,
    correct,
    student_interval,
)
from vapray.report.difference_text import describe_differences
from vapray.runtime.stage_context import StageContext
from vapray.store.version import Version

__all__ = ["GroupGain", "GroupGains", "HeldOutImages", "gains_of", "group_gains", "write_predictions"]

HEAD = ["column", "group", "n test", "network", "real share", "arm", "real", "with generated", "gain"]
PAGE = """
## By group

Balanced accuracy on the test images of a group, mean over seeds. Brackets are 95 % intervals over the lesions or
patients of the test images and over seeds{seeds}. Groups with fewer than {least} test images have no numbers.

{table}

{findings}
"""
Predictions = Mapping[str, NDArray[np.int64]]
"""Predicted class of each test image, by key of the trial."""


@dataclass(frozen=True)
class HeldOutImages:
    """Test images in the order of the predictions: ids, classes [N], and lesions or patients."""

    ids: Sequence[str]
    labels: NDArray[np.int64]
    units: Sequence[str]


@dataclass(frozen=True)
class GroupGain:
    """Gain of one arm on one group; the numbers are None for a group with too few test images."""

    column: str
    group: str
    n_test: int
    network: str
    share: float
    arm: str
    real: float | None
    with_generated: float | None
    gain: Estimate | None


@dataclass(frozen=True)
class GroupGains:
    """Gains by group, and the comparisons between groups."""

    lines: tuple[GroupGain, ...]
    differences: tuple[Difference, ...]
    min_images: int
    seeds: int

    @property
    def findings(self) -> list[str]:
        """Sentences that say which differences between groups are resolved."""
        return [f"Gains of classifiers: {text}" for text in describe_differences(self.differences)]

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values, for ``downstream.json``."""
        return {
            "min_images": self.min_images,
            "lines": [asdict(line) for line in self.lines],
            "differences": [asdict(one) | {"resolved": one.is_resolved} for one in self.differences],
            "findings": self.findings,
        }

    def markdown(self) -> str:
        """Format as a section of ``table.md``."""
        lines = [HEAD, ["---"] * len(HEAD), *(_cells(line) for line in self.lines)]
        return PAGE.format(
            seeds="" if self.seeds > 1 else "; a single seed has no spread",
            least=self.min_images,
            table="\n".join(f"| {' | '.join(cells)} |" for cells in lines),
            findings=" ".join(self.findings),
        )


def write_predictions(output: Version, key: str, probabilities: NDArray[np.float64]) -> None:
    """Write the most probable class of each test image."""
    data = json.dumps(probabilities.argmax(axis=1).tolist())
    output.files.write(f"{output.folder}/files/predictions/{key}.json", data.encode())


def group_gains(run: StageContext, rows: Sequence[Mapping[str, Any]], held_out: str) -> GroupGains | None:
    """Compute the gains of all finished trials; None without ``evaluate.groups``."""
    settings, images = run.config.evaluate, run.inputs["images"]
    if not settings.groups:
        return None
    table = images.read(["image_id", "label", "group", "split"]).filter(pc.field("split") == held_out)
    test = HeldOutImages(*(table[name].to_pylist() for name in ("image_id", "label", "group")))
    test = replace(test, labels=np.array(test.labels, dtype=np.int64))
    predictions = {row["key"]: _read(run.output, row["key"]) for row in rows}
    return gains_of(rows, predictions, test, group_images(images, settings), settings.group_min_images)


def _read(output: Version, key: str) -> NDArray[np.int64]:
    data = output.files.read(f"{output.folder}/files/predictions/{key}.json")
    return np.array(json.loads(data or b"[]"), dtype=np.int64)


def gains_of(
    rows: Sequence[Mapping[str, Any]],
    predictions: Predictions,
    test: HeldOutImages,
    groupings: Sequence[Grouping],
    least: int,
) -> GroupGains:
    """Compute the gains over the arm ``real`` with the same seeds, and compare the groups of each column.

    Args:
        rows: Rows of the table ``downstream``.
        predictions: Predicted classes by key of the row.
        test: Test images.
        groupings: Groups of all images, by column.
        least: Fewest test images of a group with numbers.
    """
    right: dict[tuple[str, float, str], dict[int, NDArray[np.float64]]] = defaultdict(dict)
    for row in rows:
        hits = (predictions[row["key"]] == test.labels).astype(np.float64)
        right[row["network"], row["share"], row["arm"]][row["seed"]] = hits
    lines: list[GroupGain] = []
    for (network, share, arm), arms in right.items():
        base = right.get((network, share, BASELINE), {})
        seeds = [seed for seed in arms if seed in base]
        if arm == BASELINE or not seeds:
            continue
        pairs = np.stack([[base[seed], arms[seed]] for seed in seeds])
        for grouping in groupings:
            of_image = np.array([grouping.of_image[image] for image in test.ids], dtype=object)
            for name in grouping.names:
                chosen = np.flatnonzero(of_image == name)
                found = _gain(pairs[:, :, chosen], chosen, test) if len(chosen) >= least else (None, None, None)
                lines.append(GroupGain(grouping.column, name, len(chosen), network, share, arm, *found))
    return GroupGains(tuple(lines), tuple(correct(_differences(lines))), least, len({row["seed"] for row in rows}))


def _gain(pairs: NDArray[np.float64], chosen: NDArray[np.int64], test: HeldOutImages) -> tuple[float, float, Estimate]:
    """Accuracies and gain from hits [seeds, (real, arm), images]; the variance adds that of images and of seeds."""
    labels, units = test.labels[chosen], [test.units[row] for row in chosen]
    real, made = (balanced_mean(pairs[:, place].mean(axis=0), labels).value for place in (0, 1))
    differences = pairs[:, 1] - pairs[:, 0]
    found = balanced_mean(differences.mean(axis=0), labels, units)
    if len(pairs) > 1:
        spread = np.std([balanced_mean(one, labels).value for one in differences], ddof=1) / math.sqrt(len(pairs))
        parts = [(found.deviation**2, found.degrees), (float(spread) ** 2, len(pairs) - 1)]
        total = sum(part for part, _ in parts)
        degrees = total**2 / sum(part**2 / degrees for part, degrees in parts)
        deviation = math.sqrt(total)
        interval = student_interval(found.value, deviation, degrees, (-1.0, 1.0))
        found = replace(found, deviation=deviation, degrees=degrees, interval=interval)
    return real, made, found


def _differences(lines: Sequence[GroupGain]) -> list[Difference]:
    """Compare the known groups of each column, by network, share and arm."""
    groups: dict[tuple[str, str, float, str], dict[str, Estimate]] = defaultdict(dict)
    for line in lines:
        if line.gain and line.group != UNKNOWN:
            groups[line.column, line.network, line.share, line.arm][line.group] = line.gain
    return [
        replace(one, group=f"{one.group} ({network}, {100 * share:g} %, {arm})")
        for (column, network, share, arm), values in groups.items()
        for one in compare_groups(column, "gain", values)
    ]


def _cells(line: GroupGain) -> list[str]:
    cells = [line.column, line.group, f"{line.n_test:,}", line.network, f"{100 * line.share:g} %", line.arm]
    if line.gain is None or line.gain.interval is None:
        return [*cells, "", "", ""]
    bounds = line.gain.interval
    gain = f"{line.gain.value:+.3f} [{bounds.low:+.3f}, {bounds.high:+.3f}]"
    return [*cells, f"{line.real:.3f}", f"{line.with_generated:.3f}", gain]
