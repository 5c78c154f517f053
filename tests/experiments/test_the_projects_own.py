"""Every experiment of the project can be started: its file is valid, and the settings of all its runs fit together."""

import pytest
import yaml

from tests.conftest import ROOT
from vapray.captioning.prompt_set import load_prompt_set
from vapray.experiments.records import RunName, deciding_settings
from vapray.experiments.runner import run_names, settings_of
from vapray.experiments.spec import read_experiment
from vapray.models.network_cost import network_cost

FILES = sorted((ROOT / "jobs" / "experiments").glob("*.yaml"))
EXPERIMENTS = [
    pytest.param(path, dataset, id=f"{path.stem} {dataset or ''}".strip())
    for path in FILES
    for dataset in yaml.safe_load(path.read_text()).get("datasets", [None])
]


@pytest.mark.parametrize(("path", "dataset"), EXPERIMENTS)
def test_its_runs_have_settings_that_fit_and_differ(path, dataset, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    experiment = read_experiment(str(path), dataset)
    places = [f"run.root={tmp_path}", "data.root=anywhere"]
    found = {name: deciding_settings(settings_of(experiment, name, places)) for name in run_names(experiment)}
    assert len(found) >= 4
    assert len({str(settings) for settings in found.values()}) == len(found), "two rows are the same run"
    head = [line for line in path.read_text().splitlines() if line.startswith("# vapray experiment")]
    assert head[0].startswith(f"# vapray experiment jobs/experiments/{path.name}")


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.stem.startswith("caption_audit")], ids=lambda p: p.stem
)
def test_attributes_of_an_audit_are_those_of_its_prompts(path, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    experiment = read_experiment(str(path))
    places = [f"run.root={tmp_path}", "data.root=anywhere"]
    for name in run_names(experiment):
        attributes = load_prompt_set(settings_of(experiment, name, places).prompt_set).attributes
        asked = {number.partition("_")[2] for number in experiment.metrics if "ed_" in number}
        assert asked and asked <= set(attributes)


@pytest.mark.parametrize("dataset", ["isic2018", "isic2019", "chestxray14", "colonoscopy"])
def test_no_baseline_is_much_smaller_than_ours(dataset, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    experiment = read_experiment(str(ROOT / "jobs" / "experiments" / "table1.yaml"), dataset)
    measure, seed = next(iter(experiment.evaluators)), experiment.seeds[0]
    places = [f"run.root={tmp_path}", "data.root=anywhere"]
    sizes = {
        row: network_cost(settings_of(experiment, RunName(row, measure, seed), places), 8).parameters
        for row in experiment.arms
    }
    assert min(sizes.values()) > 0.85 * max(sizes.values()), sizes
