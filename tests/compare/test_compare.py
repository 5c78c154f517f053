"""Laws of comparing runs: what differs is shown, what must not be compared is not, what cannot be told is said."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.compare.conftest import WriteRun
from tests.evaluation.phone import overflow_at_phone_width
from vapray.compare import RunComparison, compare_runs
from vapray.compare.lineage import open_lineage, open_run
from vapray.errors import DataError
from vapray.evaluation.metrics import Metrics
from vapray.metrics.intervals import Interval
from vapray.store.run_store import Store


def row(comparison: RunComparison, key: str) -> Any:
    return next(one for one in comparison.numbers if one.key == key)


def fid(value: float, low: float, high: float, **more: Any) -> dict[str, Any]:
    return {"fid": value, "intervals": {"fid": Interval(low, high)}, **more}


def test_a_changed_key_and_a_changed_number_are_shown(write_run: WriteRun) -> None:
    first = write_run("first", numbers=fid(20.0, 18.0, 22.0))
    second = write_run("second", numbers=fid(10.0, 9.0, 11.0), sample={"guidance_scale": 1.0})
    comparison = compare_runs(first, second)
    text = "\n".join(comparison.lines())
    assert "sample.guidance_scale: 2.5 -> 1.0" in text
    assert "n_images" not in text
    assert (row(comparison, "fid").difference, row(comparison, "fid").word) == ("-10.0", "second better")
    assert comparison.verdict == "The second run is better in FID."
    assert not comparison.identical


def test_the_other_way_round_better_is_worse(write_run: WriteRun) -> None:
    first, second = write_run("a", numbers=fid(20.0, 18.0, 22.0)), write_run("b", numbers=fid(10.0, 9.0, 11.0))
    back = row(compare_runs(second, first), "fid")
    assert (back.difference, back.outcome) == ("+10.0", "worse")


def test_overlapping_intervals_are_not_told_apart(write_run: WriteRun) -> None:
    first, second = write_run("a", numbers=fid(20.0, 15.0, 25.0)), write_run("b", numbers=fid(16.0, 12.0, 19.0))
    comparison = compare_runs(first, second)
    assert row(comparison, "fid").outcome == "undecided"
    assert "not distinguishable in FID" in comparison.verdict
    assert "better" not in comparison.verdict


def test_without_an_interval_nothing_is_called_better(write_run: WriteRun) -> None:
    first, second = write_run("a"), write_run("b", numbers={"recall": 0.9})
    recall = row(compare_runs(first, second), "recall")
    assert (recall.outcome, recall.word) == ("undecided", "second better, without an interval")
    assert recall.difference.replace("\N{NO-BREAK SPACE}", " ") == "+51.2 points"


def test_a_run_compared_with_itself_is_identical(write_run: WriteRun) -> None:
    root = write_run("a")
    comparison = compare_runs(root, root)
    assert comparison.identical
    assert not comparison.changes
    assert {one.outcome for one in comparison.numbers} == {"equal"}
    assert "identical" in comparison.lines()[-1]


@pytest.mark.parametrize(
    ("other", "reason"),
    [({"classes": ("NV", "BCC")}, "classes differ"), ({"dataset": "photos"}, "datasets differ")],
)
def test_runs_on_other_pictures_have_no_differences(write_run: WriteRun, other: Any, reason: str) -> None:
    comparison = compare_runs(write_run("a"), write_run("b", numbers={"fid": 3.0}, **other))
    assert {one.outcome for one in comparison.numbers} == {"incomparable"}
    assert all(reason in one.word and one.difference == "\N{EN DASH}" for one in comparison.numbers)
    assert reason in comparison.verdict
    assert 'class="gauge"' not in comparison.to_html()


def test_the_same_pictures_in_another_place_are_the_same(write_run: WriteRun) -> None:
    comparison = compare_runs(write_run("a", place="here"), write_run("b", place="there"))
    assert comparison.identical


def test_other_features_bar_distances_and_leave_labels(write_run: WriteRun, metrics: Metrics) -> None:
    other = replace(metrics.provenance, extractor="Inception-v3", extractor_sha256="0" * 64)
    second = write_run("b", numbers={"provenance": other, "label_accuracy": 0.5})
    comparison = compare_runs(write_run("a"), second)
    for key in ("fid", "kid", "precision", "recall"):
        assert row(comparison, key).word == "not comparable: features differ"
    assert row(comparison, "label_accuracy").outcome == "undecided"


def test_numbers_that_hang_on_the_count_of_pictures_are_not_compared_across_counts(write_run: WriteRun) -> None:
    comparison = compare_runs(write_run("a"), write_run("b", numbers={"n_generated": 100}))
    for key in ("fid", "precision", "recall"):
        assert row(comparison, key).outcome == "incomparable"
    assert row(comparison, "kid").outcome == "equal"


def test_what_was_not_measured_is_no_difference(write_run: WriteRun) -> None:
    missing = row(compare_runs(write_run("a"), write_run("b", numbers={"kid": math.nan})), "kid")
    assert (missing.outcome, missing.difference) == ("missing", "\N{EN DASH}")


def test_the_same_sample_stands_beside_itself(write_run: WriteRun) -> None:
    first, second = write_run("a", seeds=(1, 2)), write_run("b", seeds=(2, 3))
    page = compare_runs(first, second).to_html()
    assert page.count("seed 2") == 2
    assert "seed 1" not in page
    apart = compare_runs(first, write_run("c", seeds=(4, 5))).to_html()
    assert apart.count("share only their class") == 2


def test_the_page_needs_nothing_from_outside_and_fits_a_phone(write_run: WriteRun, tmp_path: Path) -> None:
    long = {"guidance_scale": "wide" * 60}
    comparison = compare_runs(write_run("a"), write_run("b", numbers=fid(10.0, 9.0, 11.0), sample=long))
    page = comparison.to_html()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not any(outside in page for outside in ("http://", "https://", "url(", "@import"))
    assert overflow_at_phone_width(page, tmp_path) == 0


def test_a_root_without_a_finished_evaluation_is_told_what_to_run(write_run: WriteRun, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: no finished evaluation.*vapray run pipeline"):
        compare_runs(write_run("a"), str(tmp_path / "nowhere"))


def test_metrics_read_back_are_what_was_written(metrics: Metrics) -> None:
    written = replace(metrics, kid=math.nan, intervals={**metrics.intervals, "kid": None})
    read = Metrics.from_json(written.to_json().encode(), "here")
    assert math.isnan(read.kid)
    assert replace(read, kid=1.0) == replace(written, kid=1.0)


def test_a_damaged_report_is_named(write_run: WriteRun) -> None:
    root = write_run("a")
    damaged = next(Path(root).glob("measurements/*/files/report/metrics.json"))
    damaged.write_text("{")
    with pytest.raises(DataError, match=str(damaged)):
        compare_runs(root, root)


def test_a_damaged_manifest_of_another_version_does_not_matter(write_run: WriteRun) -> None:
    root = write_run("a")
    old = Store(root).version("samples", "0123456789ab")
    old.files.write(f"{old.folder}/manifest.json", b"{")
    with pytest.raises(DataError, match="damaged manifest"):
        old.manifest()
    assert compare_runs(root, root).numbers


def test_samples_that_are_gone_are_told_of(write_run: WriteRun) -> None:
    root = write_run("a")
    next(Path(root).glob("samples/*/manifest.json")).unlink()
    with pytest.raises(DataError, match="samples that it measured are gone"):
        compare_runs(root, root)


def test_a_lineage_starts_at_the_evaluation_or_else_at_the_samples_that_know_their_images(
    write_run: WriteRun, small_run: Path
) -> None:
    root = write_run("a")
    assert set(open_lineage(root).versions) == {"images", "samples", "measurements"}
    next(Path(root).glob("measurements/*/manifest.json")).unlink()
    with pytest.raises(DataError, match=r"samples/.*: the images that it was made from are gone"):
        open_lineage(root)
    whole = [lineage(str(small_run)).versions for lineage in (open_lineage, open_run)]
    assert [one.folder for one in whole[0].values()] == [one.folder for one in whole[1].values()]


def test_the_published_report_is_compared_and_not_a_newer_one(write_run: WriteRun) -> None:
    root = write_run("a", numbers={"kid": 0.5})
    assert write_run("a", numbers={"kid": 0.7}, sample={"n_images": 9}, publish=False) == root
    assert row(compare_runs(root, root), "kid").first == "0.500"
    (Path(root) / "report/metrics.json").unlink()
    assert row(compare_runs(root, root), "kid").first == "0.700"


def test_a_finished_run_is_identical_to_itself_and_shows_its_pictures(small_run: Path) -> None:
    comparison = compare_runs(str(small_run), str(small_run))
    assert comparison.identical
    assert [stage for stage, _, _ in comparison.times][-1] == "evaluate"
    page = comparison.to_html()
    assert page.count("data:image/png;base64,") == 2 * 20
    report = (small_run / "report/index.html").read_text()
    assert all(f'id="{section}"' in report for section in ("verdict", "caveats", "pictures", "neighbours", "training"))
