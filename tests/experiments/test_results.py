"""RESULTS.md says what its records say: every table in it is laid out anew from committed JSON and compared."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vapray.cli.app import app
from vapray.experiments.records import Record, RunName, changed_settings, deciding_settings, read_record
from vapray.experiments.results import OUTCOMES
from vapray.experiments.runner import run_names, settings_of
from vapray.experiments.spec import Experiment, read_experiment
from vapray.experiments.tables import tables_of
from vapray.store.files import FileStore

ROOT = Path(__file__).resolve().parents[2]
TABLE = re.compile(
    r"^```console\n\$ vapray experiment (\S+) --results (\S+) --tables-only\n```\n\n(.*?)(?=^## |\Z)", re.M | re.S
)
BLOCKS = [match.groups() for match in TABLE.finditer((ROOT / "RESULTS.md").read_text())]


def records_of(experiment: Experiment, folder: str) -> dict[RunName, Record]:
    files = FileStore(str(ROOT / folder))
    return {name: record for name in run_names(experiment) if (record := read_record(files, name))}


def test_there_are_tables() -> None:
    assert BLOCKS


@pytest.mark.parametrize(("file", "folder", "text"), BLOCKS, ids=[block[0] for block in BLOCKS])
def test_every_cell_is_what_the_records_say(file: str, folder: str, text: str) -> None:
    experiment = read_experiment(str(ROOT / file))
    records = records_of(experiment, folder)
    written = tables_of(experiment, records).to_markdown().strip().splitlines()
    assert text.strip().splitlines()[: len(written)] == written
    assert text.count(written[-1]) == 1


@pytest.mark.parametrize(("file", "folder", "text"), BLOCKS, ids=[block[0] for block in BLOCKS])
def test_the_command_above_a_table_prints_it(file: str, folder: str, text: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / folder, tmp_path / "records")  # it leaves its page there
    said = CliRunner().invoke(
        app, ["experiment", str(ROOT / file), "--results", str(tmp_path / "records"), "--tables-only"]
    )
    assert said.exit_code == 0, said.output
    assert text[: text.index("\n\n")] in said.output


@pytest.mark.parametrize(("file", "folder"), [block[:2] for block in BLOCKS])
def test_records_were_made_with_the_settings_of_their_file(file: str, folder: str) -> None:
    experiment = read_experiment(str(ROOT / file))
    records, stages = records_of(experiment, folder), OUTCOMES[experiment.stage].stages
    assert records
    for name, record in records.items():
        asked = deciding_settings(settings_of(experiment, name, ["data.root=anywhere"]), stages)
        assert not changed_settings(record.settings, asked), name


def test_the_protocol_is_older_than_each_of_its_results() -> None:
    changed = commit_of("-1", "results/protocol.yaml")
    records = sorted((ROOT / "results/runs").glob("*/*.json"))
    assert records
    for record in records:
        made = commit_of("-1", "--diff-filter=A", str(record.relative_to(ROOT)))
        if not changed or made in ("", changed):
            pytest.skip("this copy of the project has no history of its own")
        asked = ["git", "merge-base", "--is-ancestor", changed, made]
        assert subprocess.run(asked, cwd=ROOT, check=False).returncode == 0, record


def commit_of(*asked: str) -> str:
    """Of a file; empty where none is known."""
    done = subprocess.run(
        ["git", "log", "--format=%H", *asked[:-1], "--", asked[-1]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def test_the_tables_of_expert_concepts_are_those_of_their_record() -> None:
    command = [sys.executable, str(ROOT / "results/expert_concepts.py"), "--tables-only"]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert printed.count("| ") > 50
    assert printed.strip() in (ROOT / "RESULTS.md").read_text()
