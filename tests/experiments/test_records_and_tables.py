"""What a table says is what the records say."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from tests.experiments.conftest import BUDGET, EXPERIMENT, record, written
from vapray.cli.app import app
from vapray.config.loader import load_config
from vapray.errors import ConfigError, DataError
from vapray.experiments.records import Record, RunName, changed_settings, deciding_settings, read_record, write_record
from vapray.experiments.results import OUTCOMES
from vapray.experiments.runner import run_all, run_names, settings_of
from vapray.experiments.tables import tables_of
from vapray.runtime.progress import Display
from vapray.store.files import FileStore


def test_a_record_comes_back_as_it_was_and_a_changed_one_is_refused(tmp_path):
    files, name = FileStore(str(tmp_path)), RunName("Captions, unseen", "plain", 3)
    assert read_record(files, name) is None
    write_record(files, name, record(name, 1.5))
    assert name.file == "captions-unseen/plain-seed3.json"
    assert read_record(files, name) == record(name, 1.5)
    anew = RunName("captions: unseen", "Plain", 3)
    assert read_record(files, anew) == record(anew, 1.5), "spelt anew, and still the same file"
    path = tmp_path / name.file
    path.write_text(path.read_text().replace("1.5", "1.4"))
    with pytest.raises(DataError, match=r"changed after it was written"):
        read_record(files, name)
    path.write_text("{}")
    with pytest.raises(DataError, match="not a record of a run"):
        read_record(files, name)


def test_where_and_how_fast_do_not_count_as_settings():
    keys = deciding_settings(load_config(None, []))
    assert {"train.learning_rate", "sample.caption_split", "model.prototypes.alpha", "run.seed"} <= keys.keys()
    assert not {key for key in keys if key.startswith(("pools.", "cluster.", "run.root", "data.root", "train.workers"))}


def test_cells_are_means_over_seeds_beside_the_papers_number(experiment):
    values = {("one", 0): 10.0, ("one", 1): 12.0, ("two", 0): 8.0, ("two", 1): 10.5}
    times = {"plain": 1.0, "halved": 2.0}
    records = {name: record(name, times[name.measure] * values[name.row, name.seed]) for name in run_names(experiment)}
    text = tables_of(experiment, records).to_markdown()
    assert "|  | FID (plain) | FID (halved) | Recall | FID, paper | seeds |" in text
    assert "| one | 11.0 ± 1.4 | 22.0 ± 2.8 | – | 19.8 | 2 | 0.33 M | 0.081 | 1,250 | 80,000 | 1.5 min |" in text
    assert "| two − one | FID | plain | -1.75 [-4.93, 1.43], n = 2 | 0.0903 | not resolved |" in text
    assert "|  |  | halved | -3.5 [-9.85, 2.85], n = 2 |  |  |" in text
    assert "* two: a note" in text
    assert "* plain: e at 64 pixels, 600 generated against 500 training pictures (90 held out: FID falls with" in text
    assert text.count("* halved: few pictures") == 1


def test_training_took_from_the_quickest_seed_to_the_slowest(experiment):
    records = {name: record(name, 1.0) for name in run_names(experiment)}
    slow = [name for name in records if (name.row, name.seed) == ("one", 1)]
    records |= {name: replace(records[name], budget=BUDGET | {"train_seconds": 150.0}) for name in slow}
    rows = {row[0]: row for row in tables_of(experiment, records).rows}
    assert (rows["one"][-1], rows["two"][-1]) == ("1.5–2.5 min", "1.5 min")


def test_a_small_deviation_is_not_told_as_none(experiment):
    values = {0: 158.0, 1: 158.2}
    records = {name: record(name, values[name.seed] if name.row == "one" else 7.1) for name in run_names(experiment)}
    rows = {row[0]: row for row in tables_of(experiment, records).rows}
    assert (rows["one"][1], rows["two"][1]) == ("158 ± 0.1", "7.10 ± 0.00")


def test_a_folder_tells_how_many_pictures_it_has(tmp_path):
    text = EXPERIMENT.replace("treatment: two", "treatment: one").replace("two: {note", "two: {folder: x, note")
    experiment, name = written(tmp_path, text), RunName("two", "plain", 0)
    numbers = {"fid": 3.0, "n_generated": 70, "n_real": 500, "features": "f", "warnings": []}
    records = {name: Record(name.row, name.measure, name.seed, {}, numbers, {})}
    notes = tables_of(experiment, records).notes
    assert "two, plain: f, 70 pictures of the folder against 500 training pictures." in notes


def test_tables_take_no_record_of_other_settings(experiment, tmp_path):
    files, asked = FileStore(str(tmp_path / "results")), ["experiment", str(tmp_path / "e.yaml"), "--tables-only"]
    for name in run_names(experiment):
        settings = deciding_settings(settings_of(experiment, name), OUTCOMES["evaluate"].stages)
        write_record(files, name, record(name, 10.0 + name.seed, json.loads(json.dumps(settings))))
    said = CliRunner().invoke(app, [*asked, "--results", str(tmp_path / "results")])
    assert said.exit_code == 0 and "10.5 ± 0.7" in said.output
    (tmp_path / "e.yaml").write_text(EXPERIMENT.replace("train.steps: 9", "data.root: there, train.steps: 9"))
    assert CliRunner().invoke(app, [*asked, "--results", str(tmp_path / "results")]).exit_code == 0
    (tmp_path / "e.yaml").write_text(EXPERIMENT.replace("train.steps: 9", "train.steps: 10"))
    said = CliRunner().invoke(app, [*asked, "--results", str(tmp_path / "results")])
    assert said.exit_code == 2
    assert "one/plain-seed0.json was made with other settings (train.steps)" in said.output
    said = CliRunner().invoke(app, [*asked[:2], "--row", "two", "--results", str(tmp_path / "results")])
    assert said.exit_code == 2 and "finished runs" not in said.output, "told before any run"


def test_what_all_measures_tell_alike_stands_once(experiment):
    records = {name: record(name, 10.0 + name.seed) for name in run_names(experiment)}
    tables = tables_of(experiment, records)
    assert tables.head[:4] == ("", "FID", "Recall", "FID, paper")
    assert tables.rows[0][:3] == ("one", "10.5 ± 0.7", "–")
    assert [cells[:3] for cells in tables.questions] == [("two − one", "FID", "plain, halved")]


def test_real_pictures_are_floors_and_count_once_a_seed(experiment):
    records = {name: record(name, 10.0) for name in run_names(experiment)}
    for name, one in records.items():
        one.metrics["fid_real_split"] = 3.0 + name.seed
    floors = [row for row in tables_of(experiment, records).rows if row[0].startswith("real")]
    assert [row[:3] for row in floors] == [("real, held out", "3.50 ± 0.71", "–")]


def test_what_is_not_made_yet_is_a_dash(experiment):
    name = RunName("one", "plain", 0)
    tables = tables_of(experiment, {name: record(name, 10.0)})
    assert tables.rows[0][:4] == ("one", "10.0", "–", "–")
    assert set(tables.rows[1][1:]) == {"–"}
    assert "–" in tables.questions[0]
    assert "<h1>A title</h1>" in tables.to_html()


def test_a_record_of_other_settings_is_not_taken_for_this_experiments(experiment, tmp_path):
    files, name = FileStore(str(tmp_path / "results")), RunName("one", "plain", 0)
    settings = json.loads(json.dumps(deciding_settings(settings_of(experiment, name)) | {"train.steps": 8}))
    write_record(files, name, record(name, 1.0, settings))
    with pytest.raises(ConfigError, match=r"was made with other settings \(train\.steps\)"):
        run_all(experiment, [name], files, [], Display())


def test_a_record_that_is_older_than_a_setting_had_its_default():
    asked = deciding_settings(load_config(None, ["train.steps=8"]))
    older = {key: value for key, value in asked.items() if key != "train.caption_shuffle_fraction"}
    assert not changed_settings(older, asked)
    assert changed_settings(older, asked | {"train.caption_shuffle_fraction": 0.5}) == [
        "train.caption_shuffle_fraction"
    ]
    assert changed_settings(older | {"train.gone": 1}, asked) == ["train.gone"]


@pytest.mark.parametrize(("captioner", "changed"), [("measured", []), ("openai", ["caption.max_tokens"])])
def test_a_setting_that_the_captioner_does_not_read_does_not_count(captioner, changed):
    asked = deciding_settings(load_config(None, [f"caption.captioner={captioner}", "caption.model=m"]))
    assert changed_settings(asked | {"caption.max_tokens": 256}, asked) == changed


def test_settings_of_stages_that_a_run_does_not_come_by_do_not_count():
    audited = deciding_settings(load_config(None, ["train.steps=8"]), OUTCOMES["audit"].stages)
    assert "caption.captioner" in audited and not {key for key in audited if key.startswith(("train.", "downstream."))}
    evaluated = deciding_settings(load_config(None, ["downstream.steps=8"]), OUTCOMES["evaluate"].stages)
    assert "train.steps" in evaluated and "train.init_from" in evaluated and "downstream.steps" not in evaluated
    everything = deciding_settings(load_config(None, ["downstream.steps=9"]))
    assert not changed_settings(everything, evaluated)
