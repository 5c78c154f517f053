"""The command ``vapray capacity`` and the tables of ``cluster/SCALING.md``."""

import re

import pytest
from typer.testing import CliRunner

from tests.conftest import ROOT
from vapray.cli.app import app

DOCUMENT = ROOT / "cluster" / "SCALING.md"
COMMAND = re.compile(r"^```console\n\$ \.venv/bin/vapray (capacity [^\n]*)\n\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = COMMAND.findall(DOCUMENT.read_text())


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["capacity", *words])
    return done.exit_code, done.output


@pytest.mark.parametrize(("command", "table"), EXAMPLES, ids=[command[-40:] for command, _ in EXAMPLES])
def test_the_tables_of_the_document_are_what_the_command_prints(command, table, monkeypatch):
    monkeypatch.chdir(ROOT)
    code, output = run(*command.split()[1:])
    assert code == 0, output
    shown, printed = ([line.rstrip() for line in text.strip("\n").splitlines()] for text in (table, output))
    first = printed.index(shown[0])
    assert printed[first : first + len(shown)] == shown


def test_the_document_is_one_page_with_a_sweep_and_a_run():
    commands = [command for command, _ in EXAMPLES]
    assert any("--sweep images=" in command for command in commands)
    assert any("--sweep" not in command for command in commands)
    assert len(DOCUMENT.read_text().splitlines()) <= 60


def test_a_plan_is_a_file_and_overrides(tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text("images: 50_000\ngpus: 4\nconstants: {get_seconds: 0.01}\nsettings: [sample.n_images=100]\n")
    code, output = run(str(plan), "gpus=16")
    assert code == 0, output
    assert output.startswith("50,000 images, 16 GPUs, settings of the demo. Estimated from forecasts and constants")
    assert "Constants, given: get_seconds." in output
    assert "put_seconds" in output.split("Constants, assumed:")[1]
    assert len(re.findall(r"^ *(?:ingest|caption|bank|encode|train|sample|evaluate) ", output, re.MULTILINE)) == 7


def test_an_exceeded_limit_is_printed_with_the_amount_needed():
    code, output = run("images=1000000", "driver_memory_gb=1")
    assert code == 0, output
    assert re.search(r"^evaluate: driver memory: \d+ GB of 1 GB\.$", output, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["imges=5"], "unknown key imges. Did you mean images?"),
        (["gpus=-3", "images=0"], "images = 0: expected a whole number, at least 1."),
        (["gpus=1.5"], "gpus = 1.5"),
        (["gpus_per_stage.ingest=3"], "expected keys from caption, bank, encode, train, sample, each a whole number"),
        (["node_gigabits=nan"], "node_gigabits"),
        (["images.x=3"], "images"),
        (["figures.train_gpu_speed=1"], "figures"),
        (["constants.train_gpu_sped=1"], "constants.train_gpu_sped: unknown constant. Fix: use one of"),
        (["constants.train_gpu_speed=0"], "expected keys of your own, each a number, above 0"),
        (["train_share=0.99", "held_out_share=0.2"], "together of at most all"),
        (["images=1"], "at least one image each"),
        (["settings=[train.batch_sise=3]"], "Did you mean batch_size?"),
        (["config=gone.yaml"], "gone.yaml"),
        (["gone.yaml"], "gone.yaml: no such file"),
        (["one.yaml", "two.yaml"], "two.yaml: more than one plan"),
        (["--sweep", "gpus"], "gpus = nothing"),
        (["--sweep", "gpus=8,x"], "gpus = 'x'"),
    ],
)
def test_an_invalid_plan_is_a_clear_error(words, expected):
    code, output = run(*words)
    assert code == 2, output
    assert expected in output
    assert "Traceback" not in output
