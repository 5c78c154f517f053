"""``--dry-run`` writes nothing, starts nothing, and says what the run then does."""

import json
import os
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.conftest import SMALL
from vapray.cli.app import app
from vapray.config.loader import load_config
from vapray.pipeline.dry_run import StagePlan, plan_run
from vapray.pipeline.stage_names import STAGE_PACKAGES
from vapray.pipeline.stages import STAGES, select_stages


def prospects(root: Path, *overrides: str, names: list[str] | None = None) -> dict[str, StagePlan]:
    config = load_config(None, [f"run.root={root}", *SMALL, *overrides])
    return {prospect.stage: prospect for prospect in plan_run(config, names)}


def listing(root: Path) -> dict[str, tuple[int, int]]:
    paths = [Path(folder) / name for folder, _, names in os.walk(root) for name in names]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


def newest_manifest(root: Path, table: str) -> dict:
    return json.loads(next((root / table).glob("*/manifest.json")).read_text())


def bytes_below(*folders: Path) -> int:
    return sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())


def test_the_names_of_the_stages_are_those_of_the_table():
    assert [stage.name for stage in STAGES] == list(STAGE_PACKAGES)


@pytest.mark.parametrize("command", [["demo"], ["run", "pipeline"], ["run", "train"]])
def test_on_nothing_it_makes_nothing(command, tmp_path):
    root = tmp_path / "run"
    done = CliRunner().invoke(app, [*command, "--dry-run", f"run.root={root}", f"data.root={tmp_path / 'phantoms'}"])
    assert done.exit_code == 0, done.output
    assert "starts nothing, writes nothing" in " ".join(done.output.split())
    assert list(tmp_path.iterdir()) == []


def test_a_lone_stage_says_what_it_waits_for(tmp_path):
    alone = prospects(tmp_path / "run", names=["bank"])
    assert alone.keys() == {"bank"}
    assert alone["bank"].state == "waits for caption"
    together = prospects(tmp_path / "run", names=["ingest", "caption", "bank"])
    assert {prospect.state for prospect in together.values()} == {"would run"}


def test_it_needs_neither_torch_nor_ray(tmp_path):
    import subprocess

    code = (
        "import sys; from vapray.cli.app import run_job\n"
        f"try: run_job('pipeline', ['--dry-run', 'run.root={tmp_path / 'run'}'])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print([name for name in ('torch', 'ray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr


def test_a_bad_key_ends_with_code_2_as_in_a_run(tmp_path):
    assert CliRunner().invoke(app, ["demo", "--dry-run", "train.stepps=3"]).exit_code == 2
    gone = ["data.source=folder", f"data.root={tmp_path / 'gone'}", f"run.root={tmp_path / 'run'}"]
    assert CliRunner().invoke(app, ["run", "ingest", "--dry-run", *gone]).exit_code == 3


def test_rows_are_those_of_the_manifests(small_run, tmp_path):
    """Forecast without any table, every stage has the rows that the real run then counted."""
    foreseen = prospects(tmp_path / "elsewhere")
    for stage in select_stages(None):
        assert foreseen[stage.name].rows == newest_manifest(small_run, stage.writes)["rows"], stage.name


def test_bytes_are_within_a_factor_of_2(small_run, tmp_path):
    foreseen = prospects(tmp_path / "elsewhere", f"data.root={tmp_path / 'phantoms'}")
    besides = {
        "ingest": ["ingest_plan"],
        "sample": ["sample_plan"],
        "audit": ["audit"],
        "evaluate": ["report", "copy_candidates", "nearest_training"],
    }
    for stage in select_stages(None):
        folders = [small_run / name for name in (stage.writes, *besides.get(stage.name, []))]
        written = bytes_below(*folders)
        if stage.name == "ingest":
            config = load_config(None, SMALL)
            written += bytes_below(Path(config.data.root or ""))
        forecast = foreseen[stage.name].forecast
        assert forecast is not None
        assert written / 2 < forecast.bytes_written < written * 2, (stage.name, written, forecast.bytes_written)


def test_a_finished_run_is_unchanged_and_untouched(run_copy):
    before = listing(run_copy)
    assert {prospect.state for prospect in prospects(run_copy).values()} == {"unchanged"}
    assert listing(run_copy) == before


def test_a_changed_setting_names_the_difference_and_what_follows(run_copy):
    before = listing(run_copy)
    foreseen = prospects(run_copy, "sample.guidance_scale=1.25")
    assert [name for name, prospect in foreseen.items() if prospect.forecast] == ["sample", "evaluate"]
    assert foreseen["sample"].reasons == ("sample.guidance_scale: 2.5 -> 1.25",)
    assert [reason.partition(" -> ")[2] for reason in foreseen["evaluate"].reasons] == ["to be made"]
    assert listing(run_copy) == before


def test_half_done_work_is_counted(run_copy):
    version = next((run_copy / "captions").iterdir())
    (version / "manifest.json").unlink()
    next((version / "parts").iterdir()).unlink()
    step = next((run_copy / "checkpoints").iterdir())
    (step / "manifest.json").unlink()
    foreseen = prospects(run_copy)
    assert 0 < foreseen["caption"].done < foreseen["caption"].rows == 90
    assert foreseen["caption"].state == f"would continue: {foreseen['caption'].done} of 90 done"
    alone = prospects(run_copy, names=["bank"])
    assert alone["bank"].state == "waits for caption"


def test_the_same_lines_say_why_as_in_a_run(small_run):
    root = ["run", "pipeline", "--dry-run", f"run.root={small_run}", *SMALL]
    done = CliRunner().invoke(app, [*root, "sample.guidance_scale=1.25"])
    assert done.exit_code == 0, done.output
    assert "[sample] runs again: sample.guidance_scale: 2.5 -> 1.25" in done.output
    assert max(map(len, done.output.splitlines())) <= 100
