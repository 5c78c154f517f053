"""Groups by columns: bins, missing values, columns that are not there."""

import csv
from pathlib import Path

import pytest

from tests.groups.conftest import write_folder
from vapray.config import Config
from vapray.config.loader import load_config
from vapray.data.image_groups import _grouping, groups_content_hash
from vapray.doctor.checks import run_checks
from vapray.errors import ConfigError, DataError
from vapray.pipeline.dry_run import plan_run
from vapray.pipeline.runner import PipelineRunner
from vapray.pipeline.stages import STAGES
from vapray.runtime.progress import Display


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("grouped")
    write_folder(root)
    return root


def settings(folder: Path, *more: str) -> list[str]:
    return ["data.source=folder", f"data.root={folder / 'photos'}", f"run.root={folder / 'run'}", *more]


def grouped(values: list[str], *more: str, column: str = "age") -> list[str]:
    config = load_config(None, [f"evaluate.groups=[{column}]", *more])
    found = _grouping(column, {str(place): value for place, value in enumerate(values)}, config.evaluate)
    return [found.of_image[str(place)] for place in range(len(values))]


def test_ages_are_cut_at_40_and_60_and_a_bound_belongs_to_the_bin_above():
    assert grouped(["39.9", "40", "59", "60", "", "058Y"]) == [
        "under 40", "40 to under 60", "40 to under 60", "60 and over", "unknown", "40 to under 60",
    ]  # fmt: skip
    assert grouped(["17", "18"], "evaluate.group_bins={age: [18]}") == ["under 18", "18 and over"]


def test_texts_and_few_numbers_stay_as_they_are_and_many_numbers_become_thirds():
    assert grouped(["male", "", "female"], column="sex") == ["male", "unknown", "female"]
    assert grouped(["1", "2", "10"], column="stage") == ["1", "2", "10"]
    thirds = grouped([str(number) for number in range(30)], column="height")
    assert {name: thirds.count(name) for name in thirds} == {"under 10": 10, "10 to under 20": 10, "20 and over": 10}


def test_a_text_among_ages_is_an_error_and_not_a_group():
    with pytest.raises(DataError, match="'old' is not a number"):
        grouped(["30", "old"])


def test_a_column_that_is_not_there_ends_the_run_the_dry_run_and_doctor_before_anything_starts(folder: Path):
    wanted = settings(folder, "evaluate.groups=[scanner]")
    with pytest.raises(ConfigError, match=r"no column scanner. It has image_id.*data.metadata_columns=\[scanner\]"):
        plan_run(load_config(None, wanted))
    failed = [finding for finding in run_checks(None, wanted) if finding.state == "failed"]
    assert any(finding.check == "groups" and "no column scanner" in finding.found for finding in failed)
    nowhere = settings(folder, "data.metadata_columns=[scanner]", "evaluate.groups=[scanner,sex]")
    with pytest.raises(ConfigError, match=r"no column sex. It has image_id.*, scanner. Fix: name some of these"):
        groups_content_hash(load_config(None, nowhere))


def test_a_corrected_cell_changes_the_hash_and_other_columns_do_not(folder: Path):
    def content(*more: str) -> str:
        return groups_content_hash(load_config(None, settings(folder, "data.metadata_columns=[scanner,age]", *more)))

    before = content("evaluate.groups=[scanner]")
    table = folder / "photos" / "metadata.csv"
    text = table.read_text()
    rows = [*csv.reader(text.splitlines())]
    rows[1][rows[0].index("age")] = "99"
    table.write_text("\n".join(",".join(row) for row in rows) + "\n")
    assert content("evaluate.groups=[scanner]") == before
    rows[1][rows[0].index("scanner")] = "C"
    table.write_text("\n".join(",".join(row) for row in rows) + "\n")
    assert content("evaluate.groups=[scanner]") != before
    table.write_text(text)
    assert content() == ""


def test_the_defaults_of_group_settings_are_in_no_fingerprint():
    evaluate = Config().model_dump(mode="json")["evaluate"]
    runner = PipelineRunner(Config(), Display())
    stages = {stage.name: runner.external_inputs(stage) for stage in STAGES if stage.name in ("evaluate", "downstream")}
    assert {name: [*inputs] for name, inputs in stages.items()} == {
        "evaluate": ["prompts", "feature weights"], "downstream": ["initial weights"],
    }  # fmt: skip
    assert not [name for name in evaluate if name.startswith("group")]
    changed = load_config(None, ["evaluate.groups=[class]", "evaluate.group_min_images=9"])
    assert Config.model_validate(changed.model_dump(mode="json")) == changed
