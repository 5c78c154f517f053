"""The image of a cluster's pods does its work as uid 1000 with a read-only root filesystem."""

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.image.building import built_image, read_only, why_not
from tests.serve.running import free_port

pytestmark = pytest.mark.image
Words = list[str]


@pytest.fixture(scope="module")
def image() -> Iterator[Path]:
    if reason := why_not():
        pytest.skip(reason)
    with built_image() as root:
        yield root


@pytest.fixture(scope="module")
def command(image: Path) -> Iterator[Words]:
    with read_only(image) as words:
        yield words


def output_of(command: Words, *words: str) -> str:
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_root_is_read_only_and_the_user_is_not_root(command):
    assert output_of(command, "id", "-u").strip() == "1000"
    for place in ("/app/x", "/opt/vapray/x", "/etc/x"):
        done = subprocess.run([*command, "touch", place], capture_output=True, text=True)
        assert done.returncode != 0 and "Read-only" in done.stderr, place


def test_doctor_and_dry_run_find_nothing_wrong(command):
    assert " 0 failed" in output_of(command, "vapray", "doctor", "run.root=/data/doctor")
    assert "caption" in output_of(command, "vapray", "demo", "--dry-run", "run.root=/data/dry")


def test_a_pipeline_runs_and_what_it_trained_is_served(command, image):
    small = ["data.phantom.n_images=120", "train.steps=20", "sample.n_images=16", "run.root=/data/run"]
    output_of(command, "python", "-m", "jobs.pipeline", "--config", "/app/jobs/configs/demo.yaml", *small)
    found = output_of(command, "sh", "-c", "ls -d /data/run/checkpoints/*/files/final").split()
    port = str(free_port())
    serving = subprocess.Popen([*command, "vapray", "serve", "--checkpoint", found[0], "--port", port])
    try:
        deadline = time.monotonic() + 300
        while (status := status_of(f"http://127.0.0.1:{port}/readyz")) != 200:
            assert serving.poll() is None and time.monotonic() < deadline, status
            time.sleep(1)
        body = json.dumps({"bank": "draw", "label": 0, "seed": 7}).encode()
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/images/generations", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=120) as answer:
            assert json.load(answer)["data"][0]["b64_json"]
        (service,) = psutil.Process(serving.pid).children()
        service.terminate()  # as Kubernetes ends a container: a signal to its first process
        serving.wait(60)
    finally:
        serving.kill()


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
