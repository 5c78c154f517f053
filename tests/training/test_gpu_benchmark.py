"""The benchmark of a bare GPU machine runs here on the CPU, with the packages of such a machine."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT

ABSENT = ("ray", "diffusers", "pydantic", "pyarrow", "yaml", "torchmetrics", "open_clip", "vllm", "pandas", "typer")
BARE = f"""
import runpy, sys
for name in {ABSENT!r}:
    sys.modules[name] = None
runpy.run_module("tests.benchmarks.gpu", run_name="__main__")
"""


def run(*words: str) -> tuple[list[str], dict[str, float]]:
    command = [sys.executable, "-c", BARE, "--device", "cpu", "--small", *words]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    lines = done.stdout.splitlines()
    return lines, json.loads(lines[-1])["values"]


@pytest.mark.slow
def test_it_needs_torch_alone_and_prints_the_training_step_first() -> None:
    lines, values = run()
    assert lines[2].startswith("training, width_512 ")
    assert not [line for line in lines if "failed" in line or "left out" in line]
    names = {
        "width_512_ms",
        "width_1024_compiled_mfu_of_measured",
        "engine_1_step_ms",
        "decode_float32_images_per_second",
    }
    assert names <= values.keys()
    assert all(value > 0 for name, value in values.items() if not name.endswith(("_mfu", "_gib")))


def test_no_part_begins_when_the_time_is_over() -> None:
    lines, values = run("--minutes", "0")
    assert sum("left out, the time is over" in line for line in lines) >= 8
    assert set(values) == {"product_tflops"}
