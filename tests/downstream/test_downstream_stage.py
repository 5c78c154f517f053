"""The stage as a user runs it, after a small run."""

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
from safetensors import safe_open

from tests.conftest import SMALL
from tests.finished_run import frame
from vapray.config import Config
from vapray.config.loader import load_config
from vapray.downstream.trials import all_trials
from vapray.pipeline.dry_run import plan_run
from vapray.pipeline.runner import PipelineRunner
from vapray.pipeline.stages import select_stages
from vapray.runtime.progress import Display
from vapray.runtime.row_map import write_work_list
from vapray.store.files import FileStore
from vapray.store.receipts import Span
from vapray.store.tables import build_part
from vapray.store.version import Version

TINY = (
    "downstream.steps=6",
    "downstream.batch_size=8",
    "downstream.shares=[0.1,1]",
    "downstream.seeds=[0,1]",
    "downstream.n_synthetic=12",
)
EARLIER = {"auc": 0.123, "f1": 0.456, "steps": 6, "n_real": 1, "n_real_groups": 1, "n_synthetic": 12, "n_test": 1}
"""Numbers that no training finds."""


def test_it_runs_where_it_is_named_and_nowhere_else():
    assert "downstream" not in {stage.name for stage in select_stages(None)}
    named = select_stages(["downstream"])
    assert [stage.name for stage, wanted in named.items() if wanted] == ["downstream"]
    assert len(named) == len(select_stages(None)) + 1


def test_a_grid_becomes_a_table_and_what_is_committed_is_not_trained_again(small_run, joined_job, tmp_path):
    root = Path(shutil.copytree(small_run, tmp_path / "run"))
    config = load_config(None, [f"run.root={root}", *SMALL, *TINY])
    (foreseen,) = plan_run(config, ["downstream"])
    version = open_version(config)
    point = {"key": "small/1/real+synthetic/1", "network": "small", "share": 1.0, "arm": "real+synthetic", "seed": 1}
    points = [{"key": trial.key, **asdict(trial)} for trial in all_trials(config.downstream)]
    plan = write_work_list(SimpleNamespace(output=version), "downstream_plan", pa.Table.from_pylist(points))
    row = [one["key"] for one in points].index(point["key"])
    version.write_part(build_part(version.table_spec, [point | EARLIER]), Span(*plan.part_names(), row, row + 1, 1))

    done = joined_job("downstream", *TINY, root=root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "continuing: 1 of 12 rows already done" in done.stdout
    rows, images = (frame(FileStore(str(root)), table) for table in ("downstream", "images"))
    assert len(rows) == version.require_manifest().rows == foreseen.rows == 12
    assert rows[rows.key == point["key"]][[*EARLIER]].to_dict("records") == [EARLIER]

    trained = rows[rows.key != point["key"]]
    assert trained.auc.between(0, 1).all() and trained.f1.between(0, 1).all()
    assert {*trained.steps} == {6} and {*trained.n_test} == {(images.split == "test").sum()}
    assert {arm: {*found} for arm, found in trained.groupby("arm").n_synthetic} == {
        "real": {0}, "real+synthetic": {12}, "synthetic_then_real": {12},
    }  # fmt: skip
    counts = {share: {*found} for share, found in trained.groupby("share").n_real}
    assert counts[1.0] == {(images.split == "train").sum()} and len(counts[0.1]) == 1
    assert trained[trained.share == 0.1].n_real_groups.min() >= images["class"].nunique()

    files = Path(version.uri) / "files"
    record = json.loads((files / "downstream" / "downstream.json").read_text())
    assert {(line["share"], line["arm"]) for line in record["rows"]} == {*zip(rows.share, rows.arm, strict=True)}
    assert (files / "downstream" / "table.md").read_text().count("| small |") == len(record["rows"]) == 6
    with safe_open(files / "small.safetensors", "pt") as file:
        assert {*json.loads(file.metadata()["class_names"])} == {*images["class"]}
    assert rows[rows.key == "small/1/real/0"].weights_sha256.item() == sha256(files / "small.safetensors")


def open_version(config: Config) -> Version:
    """What the stage is about to fill."""
    walk = PipelineRunner(config, Display())
    version = [walk.status(stage) for stage in select_stages(["downstream"])][-1].version
    assert version is not None
    return version


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
