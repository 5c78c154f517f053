"""An experiment's file: the settings of its runs, its data sets, and what is refused before any run."""

import pytest

from tests.experiments.conftest import EXPERIMENT, written
from vapray.errors import ConfigError
from vapray.experiments.records import RunName
from vapray.experiments.runner import run_names, settings_of
from vapray.experiments.spec import Experiment, read_experiment


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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("treatment: two", "treatment: too"), "unknown arm 'too'; arms: one, two"),
        (("title: A title\n", ""), "e.yaml: title is missing."),
        (("note: a note", "nte: a note"), "e.yaml: unknown key arms.two.nte. Did you mean note?"),
        (
            ("metric: fid}", "metric: recall, equivalence_margin: 0.1}"),
            "recall is not measured on held-out real images",
        ),
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
