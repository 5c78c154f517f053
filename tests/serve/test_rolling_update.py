"""New settings are deployed under load: every replica is another one in the end, and no request failed."""

import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT
from tests.faults.ray_processes import cluster
from tests.serve.running import Running, free_port, write_settings

SECONDS_BETWEEN_REQUESTS = 0.15


def deploy(address: str, folder: Path, checkpoint: Path, port: int, **model: object) -> None:
    """With two samplers and two ingresses."""
    replicas = {"min": 2, "max": 2, "num_cpus": 0.5}
    file = write_settings(
        folder, checkpoint, port, model={"replicas": replicas, **model}, ingress=dict(replicas), evaluator=None
    )
    command = [sys.executable, "-m", "tests.serve.deploying", address, str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_rolling_update_fails_no_request(small_checkpoint, tmp_path):
    port = free_port()
    with cluster(num_cpus=8) as (address, keeper):
        deploy(address, tmp_path, small_checkpoint, port)
        service = Running(f"http://127.0.0.1:{port}", psutil.Process(keeper), tmp_path / "none")
        before = {name: set(service.replicas(name)) for name in ("ingress", "sampler-demo")}
        ended = threading.Event()
        with ThreadPoolExecutor(32) as clients:
            asking = clients.submit(ask_until, ended, service, clients)
            time.sleep(2)
            deploy(address, tmp_path, small_checkpoint, port, max_queued_requests=200)
            time.sleep(2)
            ended.set()
            answers = asking.result()
            assert all(answer.result()["data"] for answer in answers)
        assert len(answers) > 30
        for name, old in before.items():
            assert len(old) == 2
            assert not old & set(service.replicas(name))


def ask_until(ended: threading.Event, service: Running, clients: ThreadPoolExecutor) -> list[Future[dict[str, object]]]:
    """At a constant rate."""
    answers = []
    while not ended.wait(SECONDS_BETWEEN_REQUESTS):
        answers.append(clients.submit(service.make, bank="draw", label=0, num_inference_steps=4))
    return answers
