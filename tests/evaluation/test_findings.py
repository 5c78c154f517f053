"""Findings of the report: what is good is said with its limits, what is weak before it is quoted."""

from dataclasses import replace

from vapray.evaluation.adherence import Adherence
from vapray.evaluation.metrics import Metrics
from vapray.evaluation.report.caveats import caveats
from vapray.evaluation.report.content import ReportData
from vapray.evaluation.report.verdict import adherence_finding, fid_finding, headline, label_finding
from vapray.memorisation.copy_test import COPIES
from vapray.metrics.intervals import Interval


def test_a_generator_below_its_floor_is_said_to_be(metrics: Metrics) -> None:
    assert "Not closer" not in fid_finding(metrics)
    assert "Better than simple baselines" in headline(metrics)
    worse = replace(metrics, fid=100.0)
    assert "Closer to real images than the untrained network" in fid_finding(worse)
    assert "Not closer to real images than class means with noise" in fid_finding(worse)
    assert headline(worse).startswith("No closer to real images than a simple baseline")


def test_the_headline_does_not_praise_captions_that_may_be_ignored(metrics: Metrics) -> None:
    further = {"caption_adherence_relative": 0.2}
    said = [
        headline(replace(metrics, further=further, intervals={"caption_adherence_relative": Interval(low, 0.3)}))
        for low in (0.1, -0.1)
    ]
    assert "captions count for 20" in said[0]
    assert "not clearly followed" in said[1]


def test_labels_that_beat_real_pictures_are_called_typical_not_better(metrics: Metrics) -> None:
    assert "more typical" in label_finding(replace(metrics, further={"label_accuracy_real": 0.6}))
    assert "more typical" not in label_finding(replace(metrics, further={"label_accuracy_real": 0.9}))


def test_a_generator_beyond_its_ceilings_is_under_suspicion(report: ReportData) -> None:
    suspicious = {"Copies of training images", "FID better than real images"}
    assert not suspicious & {one.about for one in caveats(report)}
    further = {"fid_at_held_out_count": 1.0, "label_accuracy_real": 0.4}
    copied = replace(
        report,
        metrics=replace(report.metrics, further=further, caption_adherence=0.99),
        memorisation=replace(report.memorisation, verdict=COPIES),
    )
    found = {one.about for one in caveats(copied)}
    assert suspicious <= found
    assert {"Label accuracy above real images", "Caption adherence above real images"} <= found


def test_attributes_that_were_left_out_are_told_with_their_numbers(report: ReportData) -> None:
    about, number = "Attributes left out of the captions", "shape (worse than chance: 100% of 84 contradicted)"
    assert about not in {one.about for one in caveats(report)}
    left_out = {"shape": number}
    for adherence in (report.adherence, None):
        told = {one.about: one.text for one in caveats(replace(report, adherence=adherence, untrusted=left_out))}
        assert number in told[about]
        assert "Caption adherence not measured" not in told


def test_what_weakens_a_number_stands_before_it_is_quoted(report: ReportData) -> None:
    found = {one.about: one.text for one in caveats(report)}
    assert {"Few images", "Rejected rows", "Not Inception features"} <= found.keys()
    assert "VASC (1)" in found["Few generated images in a class"]
    rare = [replace(report.classes[1], n_reference=7, n_held_out=0, n_generated=0)]
    weak = {one.about: one.text for one in caveats(replace(report, classes=rare))}
    assert all("VASC" in weak[about] for about in ("Rare classes", "Classes not held out", "Classes never generated"))
    inception = replace(report.metrics, features="Inception-v3", warnings=())
    calm = {one.about for one in caveats(replace(report, metrics=inception, rejects=[]))}
    assert not {"Few images", "Rejected rows", "Not Inception features"} & calm


def test_a_short_training_and_a_weak_judge_are_told(report: ReportData) -> None:
    def about(seen: int | None, real: float) -> set[str]:
        provenance = replace(report.metrics.provenance, training_images=seen)
        metrics = replace(report.metrics, provenance=provenance, further={"label_accuracy_real": real})
        return {one.about for one in caveats(replace(report, metrics=metrics))}

    assert {"Short training", "Weak judge of the classes"} <= about(4800, 0.62)
    assert not {"Short training", "Weak judge of the classes"} & about(57_600, 0.97)
    assert "Short training" not in about(None, 0.97)


def test_a_factor_names_the_value_that_it_rests_on(metrics: Metrics) -> None:
    few = replace(metrics, fid=34.6, fid_real_split=13.2, further={"fid_at_held_out_count": 43.6})
    assert "as far as held-out real images (FID 43.6 for as few images)" in fid_finding(few)
    assert "as few images" not in fid_finding(replace(few, further={}))


def test_adherence_that_may_be_chance_is_said_to_be(adherence: Adherence) -> None:
    assert "not clearly" not in adherence_finding(adherence.relative, adherence.relative_interval)
    assert "not clearly above chance" in adherence_finding(0.1, Interval(-0.1, 0.3))
    assert "cannot be measured" in adherence_finding(float("nan"), None)
