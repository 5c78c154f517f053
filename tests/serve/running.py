"""``vapray serve`` as a process of its own, and what tests look at from outside."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from tests.conftest import ROOT
from tests.faults.ray_processes import gone_within

__all__ = ["Running", "free_port", "running_service", "write_settings"]

SECONDS_TO_START = 300
SECONDS_TO_END = 60


@dataclass(frozen=True)
class Running:
    """A service that is up."""

    base: str
    """``http://127.0.0.1:PORT``."""
    process: psutil.Process
    log: Path

    def get(self, path: str) -> Any:
        """The JSON of a GET."""
        with urllib.request.urlopen(f"{self.base}{path}", timeout=120) as answer:
            return json.load(answer)

    def make(self, **body: Any) -> dict[str, Any]:
        """What the API answers to an order of pictures."""
        request = urllib.request.Request(
            f"{self.base}/v1/images/generations", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=300) as answer:
            answered: dict[str, Any] = json.load(answer)
            return answered

    def replicas(self, deployment: str) -> list[psutil.Process]:
        """Processes of a deployment's replicas."""
        family = self.process.children(recursive=True)
        return [process for process in family if f":{deployment}" in _title(process)]

    def proxies(self) -> list[psutil.Process]:
        """Processes of Serve's proxies."""
        return [process for process in self.process.children(recursive=True) if "ProxyActor" in _title(process)]

    def is_ready(self) -> bool:
        """What /readyz says."""
        try:
            return self.get("/readyz")["status"] == "ready"
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def counts(self, metric: str) -> list[float]:
        """A counter's values, one for each process and tag; behind by some seconds."""
        with urllib.request.urlopen(f"{self.base}/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        pattern = re.compile(rf"ray_vapray_{metric}(_total)?\{{.*\}} (\S+)$")
        return [float(found.group(2)) for line in lines if (found := pattern.match(line))]

    def counted(self, metric: str) -> float:
        """A counter's sum over processes and tags; behind by some seconds."""
        return sum(self.counts(metric))

    def wait_for_count(self, metric: str, at_least: float, seconds: float = 60) -> float:
        """A counter, when it has got so far or so much time has passed."""
        deadline = time.monotonic() + seconds
        while (value := self.counted(metric)) < at_least and time.monotonic() < deadline:
            time.sleep(0.5)
        return value


def write_settings(folder: Path, checkpoint: Path, port: int, **args: Any) -> Path:
    """A Serve config file like the laptop's.

    Args:
        folder: for the file, and for the service's state.
        checkpoint: of its one model, ``demo``.
        port: to listen on.
        args: of the service, beside ``models``; ``model`` are settings of the model.
    """
    model = {"name": "demo", "checkpoint": str(checkpoint), **args.pop("model", {})}
    settings = yaml.safe_load((ROOT / "serve/laptop.yaml").read_text())
    settings["http_options"]["port"] = port
    settings["applications"][0]["args"] = {"models": [model], "state_dir": str(folder / "state"), **args}
    file = folder / "service.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


@contextmanager
def running_service(folder: Path, checkpoint: Path, **args: Any) -> Iterator[Running]:
    """Start, wait until it is ready, and end it as Ctrl-C does.

    Args:
        folder: for its settings, state and log.
        checkpoint: of its one model, ``demo``.
        args: as ``write_settings`` takes them.
    """
    port = free_port()
    file = write_settings(folder, checkpoint, port, **args)
    log = folder / "serve.log"
    command = [str(Path(sys.executable).with_name("vapray")), "serve", "--config", str(file)]
    with open(log, "w") as output, subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output) as started:
        running = Running(f"http://127.0.0.1:{port}", psutil.Process(started.pid), log)
        family: list[psutil.Process] = []
        try:
            _wait_until_ready(running, started)
            family = running.process.children(recursive=True)
            yield running
        finally:
            started.send_signal(signal.SIGINT)
            try:
                started.wait(SECONDS_TO_END)
            finally:
                started.kill()
    assert not gone_within(30, family), "processes of the service outlive it"
    assert started.returncode == 130, log.read_text()


def _wait_until_ready(running: Running, started: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while not running.is_ready():
        assert started.poll() is None, running.log.read_text()
        assert time.monotonic() < deadline, running.log.read_text()
        time.sleep(0.2)


def free_port() -> int:
    """That nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()[:1])
    except psutil.Error:
        return ""
