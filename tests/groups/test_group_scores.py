"""Laws of the numbers by group, on images that are truly worse in one group, and on equal ones."""

import functools

import pytest

from tests.evaluation.pictures import noisy, scenes
from vapray.captioning.prompt_set import load_prompt_set
from vapray.config import Config
from vapray.config.loader import load_config
from vapray.data.image_groups import Grouping
from vapray.evaluation.classifier import Classifier, train_classifier
from vapray.evaluation.features import build_extractor
from vapray.evaluation.group_report import GroupReport
from vapray.evaluation.group_scores import GroupColumn, MeasuredImages, compare_columns, score_groups
from vapray.evaluation.measurement import ImageMeasurer
from vapray.metrics.group_differences import Share
from vapray.report.difference_text import NOTHING_RESOLVED

COUNT = 160
SCANNERS = ("A", "B")


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(None, ["evaluate.groups=[scanner]", "evaluate.bootstrap_samples=50"])


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return train_classifier(*scenes(COUNT, 0), 5, steps=20)


@pytest.fixture(scope="module")
def measurer(config: Config, classifier: Classifier) -> ImageMeasurer:
    return ImageMeasurer(build_extractor(config.evaluate), classifier, config.data.modality)


@functools.cache
def measured_rows(measurer: ImageMeasurer, worse: float) -> list[dict]:
    """Rows of three sets; generated images of scanner B, every second one, have noise of ``worse`` grey levels."""
    rows = []
    for seed, name in enumerate(("reference", "held_out", "generated")):
        images, labels = scenes(COUNT, seed)
        if name == "generated":
            images[1::2] = noisy(images[1::2], worse)
        rows += measurer.rows(name, [f"{name}-{number}" for number in range(COUNT)], labels.tolist(), images)
    return rows


def report(measurer: ImageMeasurer, config: Config, worse: float, *, few: int = 0, foreign: int = 0) -> GroupReport:
    """Report by scanner, A or B in turn.

    The first ``few`` images of each set are of a scanner C; owners of the last ``foreign`` generated ones are unknown.
    """
    scanners = ["C" if n < few else SCANNERS[n % 2] for n in range(COUNT)]
    of_image = {f"{name}-{n}": scanners[n] for name in ("reference", "held_out") for n in range(COUNT)}
    owners = ["elsewhere" if COUNT - n <= foreign else f"reference-{n}" for n in range(COUNT)]
    sources = {f"sample/generated-{n}": f"image/{owner}" for n, owner in enumerate(owners)}
    grouping = Grouping("scanner", "values as they are", ("A", "B", *("C" * bool(few))), of_image)
    captions = dict.fromkeys(sources, "A large oval lesion.")
    copied = ({"image/reference-0"}, {"image/reference-0", "image/reference-1"})
    measured = MeasuredImages(measured_rows(measurer, worse), captions, sources, copied)
    space = build_extractor(config.evaluate).space
    columns = score_groups([grouping], measured, load_prompt_set(config.prompt_set), space, config)
    return GroupReport(columns, compare_columns(columns), 30, foreign)


def named(column: GroupColumn) -> dict:
    return {group.name: group for group in column.groups}


def test_a_group_whose_images_are_worse_is_resolved_and_named(measurer: ImageMeasurer, config: Config) -> None:
    found = report(measurer, config, 60.0)
    a, b = (named(found.columns[0])[name] for name in SCANNERS)
    assert b.kid.value > a.kid.value and b.kid.interval.low > a.kid.interval.high
    assert abs(b.kid_held_out.value) < b.kid.value / 5
    (kid,) = [one for one in found.differences if one.number == "kid"]
    assert kid.is_resolved and kid.group == "A" and kid.value < 0
    assert found.findings[0].startswith("KID is lower for scanner A than for the others")
    assert "comparisons of a group with the others of its column, Holm's correction, 5 %" in found.findings[-1]


def test_nothing_is_resolved_between_equal_groups(measurer: ImageMeasurer, config: Config) -> None:
    found = report(measurer, config, 0.0)
    assert found.findings == [
        f"{NOTHING_RESOLVED} ({len(found.differences)} comparisons of a group with the others of its column, Holm's "
        "correction, 5 %). Differences smaller than the intervals can still exist."
    ]


def test_groups_are_counted_by_the_owner_and_small_ones_only_counted(measurer: ImageMeasurer, config: Config) -> None:
    groups = named(report(measurer, config, 0.0, few=10, foreign=6).columns[0])
    counts = {name: (one.n_training, one.n_held_out, one.n_generated) for name, one in groups.items()}
    assert counts == {"A": (75, 75, 72), "B": (75, 75, 72), "C": (10, 10, 10)}
    assert groups["C"].kid is None and groups["C"].copies_certain is None and not groups["C"].is_scored


def test_copies_belong_to_the_group_of_the_copied_training_image(measurer: ImageMeasurer, config: Config) -> None:
    groups = named(report(measurer, config, 0.0).columns[0])
    assert (groups["A"].copies_certain, groups["A"].copies_suspected) == (Share(1, 80), Share(1, 80))
    assert (groups["B"].copies_certain, groups["B"].copies_suspected) == (Share(0, 80), Share(1, 80))


def test_every_generated_image_counts_in_one_group(measurer: ImageMeasurer, config: Config) -> None:
    groups = named(report(measurer, config, 20.0).columns[0])
    assert all(0 < one.label_accuracy.value <= 1 for one in groups.values())
    assert sum(one.adherence.excess.count for one in groups.values()) == COUNT
