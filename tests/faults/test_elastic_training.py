"""A node is lost in training: the run goes on with fewer workers, and grows again when the node is back."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, SMALL
from vapray.store.checkpoint import load_latest_training_state
from vapray.store.files import FileStore

SECONDS = 240
SETTINGS = (
    "cluster.shared_filesystem=true", "train.min_workers=1", "train.steps=1000000", "train.log_every=10",
    "train.checkpoint_every=50", "train.validate_every=0",
)  # fmt: skip


@pytest.fixture
def nodes() -> Iterator[Callable[[str], str]]:
    """A cluster of two nodes; takes ``lose`` and ``bring``, answers with a line."""
    command = [sys.executable, "-m", "tests.faults.nodes"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout

    def ask(word: str) -> str:
        if word != "address":
            print(word, file=process.stdin, flush=True)
        return process.stdout.readline().strip()

    yield ask
    print("stop", file=process.stdin, flush=True)
    process.wait(60)


def wait_until(condition: Callable[[], object], driver: subprocess.Popen, said: Path) -> object:
    deadline = time.monotonic() + SECONDS
    while not (found := condition()):
        assert driver.poll() is None, said.read_text()
        assert time.monotonic() < deadline, said.read_text()
        time.sleep(0.2)
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_training_goes_on_with_the_workers_that_are_left_and_grows_again(small_run, tmp_path, nodes):
    root, said = tmp_path / "elastic", tmp_path / "said"
    shutil.copytree(small_run, root, ignore=shutil.ignore_patterns("checkpoints", "samples", "measurements"))
    address = nodes("address")
    command = [sys.executable, "-m", "jobs.train", f"run.root={root}", *SMALL, *SETTINGS, f"cluster.address={address}"]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    with said.open("w") as output:
        driver = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    wait_until(lambda: list(root.glob("checkpoints/*/files/steps/step-*/manifest.json")), driver, said)
    assert nodes("lose") == "done"
    fewer = wait_until(lambda: re.search(r"1 of 2 workers train from step ([\d,]+)", said.read_text()), driver, said)
    assert nodes("bring") == "done"
    more = wait_until(lambda: re.search(r"2 of 2 workers train from step ([\d,]+)", said.read_text()), driver, said)
    shrunk, grown = (int(found[1].replace(",", "")) for found in (fewer, more))
    assert 0 < shrunk < grown
    steps = next(root.glob("checkpoints/*/files/steps"))
    wait_until(lambda: any(int(path.name[5:]) > grown for path in steps.glob("step-*")), driver, said)
    driver.send_signal(signal.SIGTERM)
    assert driver.wait(60) == 143, said.read_text()
    state = json.loads(load_latest_training_state(FileStore(str(steps)), "", lambda line: None)["state.json"])
    assert state["step"] > grown
    assert [point["step"] for point in state["curve"]] == list(range(10, state["step"] + 1, 10))
