"""The report's section on groups: every number with its interval, texts escaped, no sideways scrolling on a phone."""

from dataclasses import replace
from pathlib import Path

from tests.evaluation.phone import overflow_at_phone_width
from tests.evaluation.test_report import Outline
from vapray.evaluation.group_report import GroupReport
from vapray.evaluation.group_scores import GroupAdherence, GroupColumn, GroupScores, compare_columns
from vapray.evaluation.metrics import Metrics
from vapray.evaluation.report.content import ReportData
from vapray.evaluation.report.render import render_report
from vapray.metrics.group_differences import Estimate, Share, student_interval


def estimate(value: float, deviation: float) -> Estimate:
    return Estimate(value, deviation, 99, 100, student_interval(value, deviation, 99))


def scored(name: str, kid: float) -> GroupScores:
    return GroupScores(
        name,
        200,
        50,
        100,
        estimate(kid, 0.01),
        estimate(0.01, 0.005),
        0.5,
        0.4,
        GroupAdherence(0.7, 0.6, estimate(0.1, 0.02)),
        estimate(0.8, 0.04),
        Share(0, 200),
        Share(3, 200),
    )


def grouped() -> GroupReport:
    names = [scored("under 40", 0.1), scored("40 to under 60", 0.11), scored("<i>60</i> and over", 0.3)]
    column = GroupColumn("age", "cut at 40 and 60", (*names, GroupScores("unknown", 9, 2, 4)))
    line = {"column": "age", "group": "under 40", "share": 1.0}
    gain = {"value": 0.031, "deviation": 0.01, "degrees": 9, "count": 50, "interval": {"low": 0.01, "high": 0.05}}
    gains = {"lines": [line | {"gain": gain}], "findings": ["Gains of classifiers: none."]}
    return GroupReport((column,), compare_columns([column]), 30, 7, gains)


def test_the_section_shows_counts_intervals_and_what_is_resolved(report: ReportData) -> None:
    outline = Outline(render_report(replace(report, groups=grouped())))
    assert outline.mistakes == [] and outline.open == []
    text = " ".join(outline.text.replace("\N{NO-BREAK SPACE}", " ").split())
    for shown in (
        "KID is higher for age <i>60</i> and over than for the others",
        "12 comparisons of a group with the others of its column",
        "7 generated images are in no group",
        "0.0802 to 0.120",
        "+10.0 pp+6.0 to +14.0",
        "3 of 2001 to 4 %",
        "+3.1 pp+1.0 to +5.0",
        "Not scored, fewer than 30 training or generated images: unknown.",
        "Gains of classifiers: none.",
    ):
        assert shown in text, shown


def test_the_section_fits_a_phone_and_is_absent_without_groups(report: ReportData, tmp_path: Path) -> None:
    assert overflow_at_phone_width(render_report(replace(report, groups=grouped())), tmp_path) == 0
    assert 'id="groups"' not in render_report(report)


def test_metrics_without_groups_have_no_such_key_and_with_them_they_are_read_back(metrics: Metrics) -> None:
    assert "groups" not in metrics.to_dict()
    held = replace(metrics, groups=grouped().to_dict())
    again = Metrics.from_json(held.to_json().encode(), "metrics.json")
    group = again.groups["columns"]["age"]["groups"]["under 40"]
    assert group["copies_suspected"]["count"] == 3 and group["kid"]["interval"]["low"] < 0.1
    assert [one["resolved"] for one in again.groups["differences"]].count(True) >= 1
