"""Report of the numbers by group, for ``metrics.json`` and the page."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from vapray.captioning.prompt_set import PromptSet
from vapray.data.image_groups import Grouping, group_images
from vapray.evaluation.extractors.extractor import FeatureSpace
from vapray.evaluation.group_scores import GroupColumn, GroupScores, MeasuredImages, compare_columns, score_groups
from vapray.metrics.group_differences import Difference, Estimate, Share
from vapray.metrics.intervals import Interval
from vapray.report.difference_text import describe_differences
from vapray.runtime.stage_context import StageContext
from vapray.store.version import Version

__all__ = ["GAINS_FILE", "OWNER", "GroupReport", "report_groups"]

OWNER = (
    "A generated image belongs to the group of the real image whose caption and class it was generated for. "
    "A copy belongs to the group of the training image that is copied."
)
GAINS_FILE = "files/downstream/downstream.json"
"""File of a version of ``downstream`` whose key ``groups`` holds the gains by group."""


@dataclass(frozen=True)
class GroupReport:
    """Numbers by group, and the comparisons between groups."""

    columns: tuple[GroupColumn, ...]
    differences: tuple[Difference, ...]
    min_images: int
    without_owner: int
    """Generated images whose caption is of no image of this run; they are in no group."""
    gains: Mapping[str, Any] = field(default_factory=dict)
    """Gains of downstream classifiers, as in ``downstream.json``; empty if the stage has not run."""

    @property
    def findings(self) -> list[str]:
        """Sentences that say what is resolved."""
        return [*describe_differences(self.differences), *self.gains.get("findings", ())]

    def gain(self, column: str, group: str) -> Estimate | None:
        """Gain of the first network and arm with the largest share of real images; None without it."""
        lines = [line for line in self.gains.get("lines", ()) if (line["column"], line["group"]) == (column, group)]
        found = max(lines, key=lambda line: line["share"], default=None)
        if found is None or found["gain"] is None:
            return None
        return Estimate(**found["gain"] | {"interval": Interval(**found["gain"]["interval"])})

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values, for ``metrics.json``."""
        return {
            "owner": OWNER,
            "min_images": self.min_images,
            "without_owner": self.without_owner,
            "columns": {
                one.column: {"rule": one.rule, "groups": {group.name: _group(group) for group in one.groups}}
                for one in self.columns
            },
            "differences": [asdict(one) | {"resolved": one.is_resolved} for one in self.differences],
            "findings": self.findings,
            "gains": self.gains,
        }


def report_groups(
    run: StageContext, measured: MeasuredImages, prompt_set: PromptSet, space: FeatureSpace
) -> GroupReport | None:
    """Report the numbers by group; None without ``evaluate.groups``."""
    if not run.config.evaluate.groups:
        return None
    run.progress.log(f"computing numbers by {', '.join(run.config.evaluate.groups)}")
    groupings = group_images(run.inputs["images"], run.config.evaluate)
    columns = score_groups(groupings, measured, prompt_set, space, run.config)
    return GroupReport(
        columns,
        compare_columns(columns),
        run.config.evaluate.group_min_images,
        _without_owner(measured, groupings),
        _read_gains(run.inputs.get("downstream")),
    )


def _without_owner(measured: MeasuredImages, groupings: Sequence[Grouping]) -> int:
    made = [row["key"] for row in measured.rows if row["set"] == "generated"]
    return sum(measured.sources[key].removeprefix("image/") not in groupings[0].of_image for key in made)


def _read_gains(downstream: Version | None) -> Mapping[str, Any]:
    data = downstream.files.read(f"{downstream.folder}/{GAINS_FILE}") if downstream else None
    found: Mapping[str, Any] = json.loads(data).get("groups", {}) if data else {}
    return found


def _group(group: GroupScores) -> dict[str, Any]:
    counts = {name: getattr(group, name) for name in ("n_training", "n_held_out", "n_generated")}
    adherence = group.adherence
    return counts | {
        "kid": _estimate(group.kid),
        "kid_held_out": _estimate(group.kid_held_out),
        "precision": group.precision,
        "recall": group.recall,
        "caption_adherence": adherence
        and {"value": adherence.value, "shuffled": adherence.shuffled, "excess": _estimate(adherence.excess)},
        "label_accuracy": _estimate(group.label_accuracy),
        "copies_certain": _share(group.copies_certain),
        "copies_suspected": _share(group.copies_suspected),
    }


def _estimate(found: Estimate | None) -> dict[str, Any] | None:
    if found is None:
        return None
    interval = found.interval and asdict(found.interval)
    return {"value": found.value, "interval": interval, "deviation": found.deviation, "n": found.count}


def _share(found: Share | None) -> dict[str, Any] | None:
    if found is None:
        return None
    value = found.count / found.total if found.total else math.nan
    return {"count": found.count, "of": found.total, "value": value, "interval": asdict(found.interval)}
