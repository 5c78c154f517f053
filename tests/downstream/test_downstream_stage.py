"""The stage as a user runs it, after a small run."""

import json
import shutil
from pathlib import Path

import pandas
from safetensors import safe_open

from tests.conftest import SMALL
from vapray.config.file import load
from vapray.dry_run import foresee
from vapray.stages import itinerary

TINY = (
    "downstream.steps=6",
    "downstream.batch_size=8",
    "downstream.shares=[0.1,1]",
    "downstream.seeds=[0,1]",
    "downstream.n_synthetic=12",
)


def test_it_runs_where_it_is_named_and_nowhere_else():
    assert "downstream" not in {stage.name for stage in itinerary(None)}
    named = itinerary(["downstream"])
    assert [stage.name for stage, wanted in named.items() if wanted] == ["downstream"]
    assert len(named) == len(itinerary(None)) + 1


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_a_grid_becomes_a_table_and_goes_on_where_it_was_stopped(small_run, job, tmp_path):
    root = tmp_path / "run"
    shutil.copytree(small_run, root)
    (foreseen,) = foresee(load(None, [f"run.root={root}", *SMALL, *TINY]), ["downstream"])
    done = job("downstream", *TINY, root=root)
    assert done.returncode == 0, done.stdout + done.stderr
    (version,) = (root / "downstream").iterdir()
    rows = pandas.concat(pandas.read_parquet(part) for part in (version / "parts").iterdir())
    manifest = json.loads((version / "manifest.json").read_text())
    assert len(rows) == manifest["rows"] == foreseen.rows == 1 * 2 * 3 * 2

    assert set(rows.steps) == {6} and rows.auc.between(0, 1).all() and rows.f1.between(0, 1).all()
    assert rows.groupby("arm").n_synthetic.unique().map(list).to_dict() == {
        "real": [0], "real+synthetic": [12], "synthetic_then_real": [12],
    }  # fmt: skip
    assert (rows.groupby("share").n_real.nunique() == 1).all()
    assert rows.n_real.max() == (pandas.read_parquet(root / "images").split == "train").sum()

    record = json.loads((version / "files/downstream/downstream.json").read_text())
    assert {(line["share"], line["arm"]) for line in record["rows"]} == {*zip(rows.share, rows.arm, strict=True)}
    assert (version / "files/downstream/table.md").read_text().count("| small |") == len(record["rows"])
    with safe_open(version / "files/small.safetensors", "pt") as file:
        assert len(json.loads(file.metadata()["class_names"])) == rows_classes(root)

    before = contents(version / "parts")
    lost = sorted(before)[3]
    (version / "parts" / lost).unlink()
    (version / "manifest.json").unlink()
    again = job("downstream", *TINY, root=root)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "11 of 12 rows were done before" in again.stdout
    after = contents(version / "parts")
    assert {name for name in after if after[name] != before[name]} == {lost}
    made_again = pandas.concat(pandas.read_parquet(part) for part in (version / "parts").iterdir())
    assert {*rows.weights_sha256} == {*made_again.weights_sha256}  # one seed, one network


def rows_classes(root: Path) -> int:
    return int(pandas.concat(pandas.read_parquet(p) for p in (root / "images").glob("*/parts/*")).label.nunique())
