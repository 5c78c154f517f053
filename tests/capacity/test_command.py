"""``vapray capacity`` as a person types it."""

import json
import re

import pytest
from typer.testing import CliRunner

from tests.conftest import ROOT
from vapray.cli import app

DOCUMENT = ROOT / "cluster" / "SCALING.md"
COMMAND = re.compile(r"^```\n\$ \.venv/bin/vapray (capacity [^\n]*)\n\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["capacity", *words])
    return done.exit_code, done.output


@pytest.mark.parametrize("found", COMMAND.findall(DOCUMENT.read_text()), ids=lambda found: found[0][-40:])
def test_the_tables_of_the_document_are_what_the_program_prints(found, monkeypatch):
    monkeypatch.chdir(ROOT)
    command, shown = found
    code, output = run(*command.split()[1:])
    assert code == 0, output
    wanted = [line.rstrip() for line in shown.strip("\n").splitlines()]
    printed = [line.rstrip() for line in output.strip("\n").splitlines()]
    at = printed.index(wanted[0])  # the document leaves out the head, and what follows the table
    assert printed[at : at + len(wanted)] == wanted


def test_the_document_has_tables_for_all_sizes():
    commands = [command for command, _ in COMMAND.findall(DOCUMENT.read_text())]
    assert len(commands) >= 3
    assert any("images=10000,1000000,10000000,100000000" in one and "gpus=8,64,256,1000" in one for one in commands)
    assert len(DOCUMENT.read_text().splitlines()) <= 150


def test_a_plan_is_a_file_and_what_is_set_over_it(tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text("images: 50_000\ngpus: 4\nprices: {gpu_hour: 9.5}\nsettings: [sample.n_images=100]\n")
    code, output = run(str(plan), "gpus=16", "--json")
    found = json.loads(output)[0]
    assert code == 0
    assert (found["plan"]["images"], found["plan"]["gpus"], found["plan"]["prices"]["gpu_hour"]) == (50_000, 16, 9.5)
    assert next(one for one in found["stages"] if one["stage"] == "sample")["rows"] == 200
    assert {one["basis"] for one in found["stages"]} == {"assumed"}
    assert set(found["figures"].values()) <= {"measured", "derived", "assumed"}


def test_no_estimate_passes_for_a_measurement():
    code, output = run(f"config={ROOT}/jobs/configs/isic2018.yaml", "images=1000000", "gpus=64")
    assert code == 0
    assert "nothing of it was run" in output
    times = [line for line in output.splitlines() if re.match(r"(caption|bank|encode|train|sample|total) ", line)][:6]
    assert len(times) == 6 and all(line.count("*") >= 2 for line in times)
    assert max(map(len, output.split("\n\n")[1].splitlines())) <= 100


def test_a_simulation_names_the_size_from_which_the_driver_limits():
    code, output = run("images=200000", "--simulate", "caption")
    assert code == 0
    assert re.search(r"[\d,]+ actors keep the driver busy", output)
    assert [int(found) for found in re.findall(r"^ +(\d+)  ", output, re.MULTILINE)][:3] == [8, 16, 32]


def test_a_stage_of_few_items_is_simulated_too():
    code, output = run("images=1000", "--simulate", "ingest")
    assert code == 0, output
    assert "2 items" in output and re.search(r"^ +2  ", output, re.MULTILINE)


def test_a_slower_network_between_nodes_slows_training_down():
    times = [
        json.loads(
            run(f"config={ROOT}/jobs/configs/isic2018.yaml", "gpus=64", f"limits.node_gigabits={rate}", "--json")[1]
        )
        for rate in (400, 1)
    ]
    fast, slow = (next(one for one in (found[0]["stages"]) if one["stage"] == "train") for found in times)
    assert slow["bottleneck"] == "gradient exchange" != fast["bottleneck"]
    assert slow["wall_seconds"] > 10 * fast["wall_seconds"]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["imges=5"], "unknown key imges. Did you mean images?"),
        (["gpus=-3", "images=0"], "2 problems"),
        (["gpus=1.5"], "gpus = 1.5"),
        (["prices.gpu_hour=nan"], "prices.gpu_hour"),
        (["prices=3"], "prices = 3"),
        (["images.x=3"], "images"),
        (["figures.train_mfuu=1"], "there is no such figure. Known: "),
        (["figures.train_mfu=0"], "wanted a number above 0, in of the peak"),
        (["train_share=0.99", "held_out_share=0.2"], "together at most all"),
        (["images=1"], "wanted at least 1 of each"),
        (["settings=[train.batch_sise=3]"], "Did you mean batch_size?"),
        (["settings=[train.workers=3]"], "follow from the plan"),
        (["settings=[pools.caption.max_size=3]"], "follow from the plan"),
        (["settings=[caption.captioner=vllm, caption.model=x]"], "what vLLM takes of CPUs is not known"),
        (["settings=[caption.captioner=openai, caption.model=x]"], "what its server takes is not known here"),
        (["config=gone.yaml"], "gone.yaml"),
        (["gone.yaml"], "gone.yaml: cannot be read"),
        (["one.yaml", "two.yaml"], "a second plan"),
        (["--across", "gpus"], "wanted key=value,value"),
        (["--across", "gpus=8,x"], "gpus = 'x'"),
        (["--simulate", "train"], "wanted a stage with a pool: ingest"),
        (["--simulate", "caption", "--json"], "leave out"),
    ],
)
def test_what_cannot_be_reckoned_is_a_clear_error(words, wanted):
    code, output = run(*words)
    assert code == 2, output
    assert wanted in output
    assert "Traceback" not in output
