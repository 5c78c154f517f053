"""Gauges, curves and numbers of the report pages."""

import numpy as np
import pytest

from vapray.metrics.intervals import Interval
from vapray.report.curves import Curve, line_chart
from vapray.report.gauge import Entry, gauge
from vapray.report.number_format import duration, number


def test_gauges_run_from_worst_to_best_and_turn_logarithmic_only_over_wide_spans() -> None:
    wide = gauge(
        "FID",
        [Entry("a", 1.0, "real"), Entry("b", 10.0, "made"), Entry("c", 400.0, "floor")],
        number,
        lower_is_better=True,
    )
    near = gauge("Share", [Entry("a", 0.2, "floor"), Entry("b", 0.6, "made", Interval(0.5, 0.7))], number)
    assert wide is not None
    assert near is not None
    assert wide.logarithmic
    assert not near.logarithmic
    assert [mark.name for mark in wide.marks] == ["c", "b", "a"]
    assert [mark.name for mark in near.marks] == ["a", "b"]
    assert all(0 <= mark.low <= mark.position <= mark.high <= 100 for mark in (*wide.marks, *near.marks))
    assert near.marks[1].low < near.marks[1].position
    assert gauge("FID", [Entry("a", 1.0, "real"), Entry("b", float("nan"), "made")], number) is None
    assert gauge("FID", [Entry("a", 1.0, "real"), Entry("b", 1.0, "made")], number) is None


def test_a_gauge_shows_nothing_outside_of_its_track() -> None:
    far = gauge("Share", [Entry("a", 0.0, "floor"), Entry("b", 0.9, "made", Interval(-3.0, 5.0))], number)
    assert far is not None
    assert (far.marks[1].low, far.marks[1].high) == (0.0, 100.0)


def test_a_share_is_drawn_on_the_whole_scale() -> None:
    chart = line_chart(Curve("Usage", "", [0, 1, 2], [0.999, 0.998, 0.999], scale=(0.0, 1.0)))
    assert (chart.y_ticks[0][1], chart.y_ticks[-1][1]) == ("0", "1")
    heights = [float(point.split(",")[1]) for point in chart.line.split()]
    assert max(heights) - min(heights) < 1


def test_a_curve_is_drawn_left_to_right_and_gaps_are_left_out() -> None:
    values = [float("nan") if i == 3 else 5.0 - i * 0.01 for i in range(400)]
    chart = line_chart(Curve("Loss", "", range(400), values))
    assert chart is not None
    points = np.array([point.split(",") for point in chart.line.split()], float)
    assert len(points) == 120
    assert (np.diff(points[:, 0]) > 0).all()
    assert (np.diff(points[:, 1]) > 0).all()
    assert line_chart(Curve("Loss", "", [1], [2.0])) is None
    assert line_chart(Curve("Loss", "", [1, 2], [2.0, 2.0])) is not None


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (14.83, "14.8"), (1234.5, "1,234"), (0.04123, "0.0412"), (3e-6, "3.0e-06"), (7, "7")],
)
def test_numbers_have_three_digits(value: float, shown: str) -> None:
    assert number(value) == shown


def test_durations_are_rounded_into_their_unit() -> None:
    assert [duration(s) for s in (3.14, 59.96, 119.7, 3600)] == [
        "3.1 s",
        "1 min 0 s",
        "2 min 0 s",
        "1 h 0 min",
    ]
