"""What a table says is what the records say."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from vapray.cli.app import app
from vapray.config.loader import load_config
from vapray.errors import ConfigError, DataError
from vapray.experiments.records import Record, RunName, changed_settings, deciding_settings, read_record, write_record
from vapray.experiments.results import OUTCOMES
from vapray.experiments.runner import run_all, run_names, settings_of
from vapray.experiments.spec import Experiment, read_experiment
from vapray.experiments.tables import tables_of
from vapray.runtime.progress import Display
from vapray.store.files import FileStore

BUDGET = {"parameters": 330_402, "forward_flops": 81e6, "steps": 1250, "images": 80_000, "train_seconds": 90.0}
EXPERIMENT = """
title: A title
question: A question?
settings: {data.image_size: 32}
seeds: [0, 1]
evaluators: {plain: {}, halved: {evaluate.half_samples: 4}}
arms:
  one: {settings: {train.steps: 9}, paper: {fid: 19.8}}
  two: {note: a note}
metrics: [fid, recall]
contrasts: [{baseline: one, treatment: two, metric: fid}]
"""


@pytest.fixture
def experiment(tmp_path) -> Experiment:
    return written(tmp_path, EXPERIMENT)


def written(folder, text: str) -> Experiment:
    (folder / "e.yaml").write_text(text)
    return read_experiment(str(folder / "e.yaml"))


def record(name: RunName, fid: float, settings=None) -> Record:
    provenance = {"extractor": "e", "resize": 64, "captioner": "measured captions", "preparation": "p"}
    metrics = {"fid": fid, "recall": None, "n_generated": 600, "n_real": 500, "provenance": provenance}
    metrics |= {"further": {"n_held_out": 90}, "warnings": ["few pictures"]}
    return Record(name.row, name.measure, name.seed, settings or {}, metrics, BUDGET)


def test_settings_are_those_of_all_then_of_the_row_then_of_the_measure(experiment):
    config = settings_of(experiment, RunName("one", "halved", 1), ["train.batch_size=8"])
    assert (config.data.image_size, config.evaluate.half_samples, config.run.seed, config.train.batch_size) == (
        32,
        4,
        1,
        8,
    )
    assert settings_of(experiment, RunName("one", "plain", 0)).train.steps == 9


@pytest.mark.parametrize("same", ["run.seed=7", "train.steps=7", "evaluate.half_samples=2"])
def test_what_runs_differ_in_cannot_be_made_the_same_for_all(experiment, same):
    with pytest.raises(ConfigError, match=rf"^{same.partition('=')[0]}: runs of this experiment differ in it\. Fix:"):
        settings_of(experiment, RunName("two", "plain", 0), [same])


def test_seeds_are_outermost_so_that_pairs_are_there_first(experiment):
    names = list(run_names(experiment))
    assert len(names) == 8
    assert [name.seed for name in names] == [0] * 4 + [1] * 4
    assert {name.row for name in run_names(experiment, ["two"], [1])} == {"two"}


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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("treatment: two", "treatment: too"), "unknown arm 'too'; arms: one, two"),
        (("title: A title\n", ""), "e.yaml: title is missing."),
        (("note: a note", "nte: a note"), "e.yaml: unknown key arms.two.nte. Did you mean note?"),
        (("treatment: two,", "treatmnt: two,"), "unknown key contrasts.0.treatmnt. Did you mean treatment?"),
        (("{note: a note}", "{train.steps: 4}"), "unknown key arms.two.train.steps. Known: settings, "),
        (("seeds: [0, 1]", "seeds: 2"), "e.yaml: seeds = 2: expected a list"),
        (("{train.steps: 9}", "{run.seed: 9}"), "e.yaml: arms.one.settings: run.seed is set by `seeds`; remove it"),
        (("{data.image_size: 32}", "{run.seed: 9}"), "e.yaml: settings: run.seed is set by `seeds`"),
        (("{evaluate.half_samples: 4}", "{run.seed: 9}"), "e.yaml: evaluators.halved: run.seed is set by `seeds`"),
        (("two: {note", "two: {folder: x, settings: {train.steps: 1}, note"), "a folder has no settings"),
        (("seeds: [0, 1]", "seeds: []"), "seeds"),
        (("seeds: [0, 1]", "seeds: [0, 1, 1]"), "seeds: each seed has to be unique: 0, 1, 1"),
        (("metrics: [fid, recall]", "metrics: [fid, recal]"), "unknown metric 'recal'; known: "),
        (("paper: {fid", "paper: {fidd"), "unknown metric 'fidd'"),
        (("metric: fid", "metric: fdi"), "unknown metric 'fdi'"),
        (("two: {note", "One!: {}\n  two: {note"), "they name files: one, One!, two"),
        (("two: {note", "two: {folder: x, note"), "'two' is a folder and has no seeds to pair"),
        (("seeds: [0, 1]", "stage: audit"), "unknown metric 'fid'; known: contradicted, "),
        (("seeds: [0, 1]", "stage: downstream"), "unknown metric 'recall'; known: auc_at_SHARE"),
        (("seeds: [0, 1]", "stage: train"), "stage = 'train': expected one of evaluate, downstream, audit"),
    ],
)
def test_a_wrong_experiment_is_told_in_full(tmp_path, change, words):
    with pytest.raises(ConfigError) as error:
        written(tmp_path, EXPERIMENT.replace(*change))
    assert words in str(error.value)


def test_wrong_settings_are_told_with_their_row(tmp_path):
    experiment = written(tmp_path, EXPERIMENT.replace("train.steps", "train.stps"))
    with pytest.raises(ConfigError, match=r"row 'one': settings: unknown key train\.stps\. Did you mean steps\?"):
        settings_of(experiment, RunName("one", "plain", 0))


def test_a_run_of_several_classifiers_is_refused_before_it_begins(tmp_path):
    text = EXPERIMENT.replace("seeds: [0, 1]", "stage: downstream").replace("[fid, recall]", "[auc_at_1]")
    text = text.replace("{fid: 19.8}", "{auc_at_1: 0.9}")
    experiment = written(tmp_path, text.replace("metric: fid", "metric: auc_at_1"))
    with pytest.raises(ConfigError, match=r"row 'one': downstream\.arms: an experiment's run has one"):
        settings_of(experiment, RunName("one", "plain", 0))


def test_a_folder_takes_no_part_in_other_stages(tmp_path):
    text = EXPERIMENT.replace("seeds: [0, 1]", "stage: downstream").replace("two: {note", "two: {folder: x, note")
    with pytest.raises(ConfigError, match=r"arms\.two: a folder of images can be evaluated only"):
        written(tmp_path, text)


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


def test_settings_of_stages_that_a_run_does_not_come_by_do_not_count():
    audited = deciding_settings(load_config(None, ["train.steps=8"]), OUTCOMES["audit"].stages)
    assert "caption.captioner" in audited and not {key for key in audited if key.startswith(("train.", "downstream."))}
    evaluated = deciding_settings(load_config(None, ["downstream.steps=8"]), OUTCOMES["evaluate"].stages)
    assert "train.steps" in evaluated and "train.init_from" in evaluated and "downstream.steps" not in evaluated
    everything = deciding_settings(load_config(None, ["downstream.steps=9"]))
    assert not changed_settings(everything, evaluated)


@pytest.mark.parametrize(
    ("stage", "number", "words"),
    [
        ("downstream", "auc_at_0.05", "no number auc_at_0.05: 0.05 is not in downstream.shares"),
        ("downstream", "f1_at_0.05", "no number f1_at_0.05"),
        ("audit", "contradicted_nose", "no number contradicted_nose: the attributes are shape, "),
    ],
)
def test_numbers_that_no_run_will_have_are_told_before_the_first(tmp_path, stage, number, words):
    text = EXPERIMENT.replace("seeds: [0, 1]", f"stage: {stage}").replace("[fid, recall]", f"[{number}]")
    text = text.replace("metric: fid", f"metric: {number}").replace("{fid: 19.8}", f"{{{number}: 1}}")
    if number.startswith("f1"):  # asked for by a contrast alone
        text = text.replace(f"metrics: [{number}]", "metrics: [f1_at_1]").replace(
            "paper: {f1_at_0.05", "paper: {f1_at_1"
        )
    text = text.replace("settings: {data", "settings: {downstream.arms: [real], data")
    with pytest.raises(ConfigError) as error:
        settings_of(written(tmp_path, text), RunName("one", "plain", 0))
    assert words in str(error.value)


DATASETS = """
datasets:
  skin: {title: Skin, arms: {one: {paper: {fid: 20.5}}}}
  lung: {title: Lung, metrics: [kid], arms: {three: {}}}
"""


def test_a_data_set_adds_to_what_all_share(tmp_path):
    shared, skin, lung = written(tmp_path, EXPERIMENT), *(read_of(tmp_path, name) for name in ("skin", "lung"))
    assert (skin.title, skin.metrics) == ("Skin", shared.metrics)
    assert skin.arms["one"] == shared.arms["one"].model_copy(update={"paper": {"fid": 20.5}})
    assert (lung.title, lung.metrics, list(lung.arms)) == ("Lung", ("kid",), ["one", "two", "three"])


def read_of(folder, dataset: str | None) -> Experiment:
    (folder / "e.yaml").write_text(EXPERIMENT + DATASETS)
    return read_experiment(str(folder / "e.yaml"), dataset)


@pytest.mark.parametrize(("dataset", "problem"), [(None, "none given"), ("liver", "unknown 'liver'")])
def test_a_missing_or_unknown_data_set_is_refused_with_the_known_ones(tmp_path, dataset, problem):
    with pytest.raises(ConfigError, match=rf"e\.yaml: --dataset: {problem}\. Fix: set it to one of skin, lung\.$"):
        read_of(tmp_path, dataset)


def test_a_data_set_of_a_file_without_any_is_refused(tmp_path):
    written(tmp_path, EXPERIMENT)
    with pytest.raises(ConfigError, match=r"--dataset skin: the file has no `datasets`\. Fix: remove --dataset\."):
        read_experiment(str(tmp_path / "e.yaml"), "skin")
