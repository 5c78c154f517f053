"""Ten minutes of mixed load: no process's memory and open files grow, nor files, logs and gauges of the service."""

import base64
import os
import re
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import openai
import psutil
import pytest

from tests.serve.running import Running, running_service
from tests.soak.load import Load

MINUTES = float(os.environ.get("VAPRAY_SOAK_MINUTES", "10"))
WARM = 0.4
"""Share of the time after which growth counts: caches and pools are full then."""
LOG_BYTES = 200_000
MIB = 2**20


@dataclass
class _Samples:
    """Values over time, by name."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, second: float, value: float) -> None:
        self.seconds.setdefault(name, []).append(second)
        self.values.setdefault(name, []).append(value)

    def growth(self, name: str, since: float) -> tuple[float, float]:
        """Median of the first third after ``since``, and growth from it to the median of the last third."""
        late = [value for second, value in zip(self.seconds[name], self.values[name], strict=True) if second >= since]
        third = max(1, len(late) // 3)
        first = statistics.median(late[:third])
        return first, statistics.median(late[-third:]) - first


@pytest.mark.soak
def test_nothing_grows(small_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ROTATION_MAX_BYTES", str(LOG_BYTES))
    monkeypatch.setenv("RAY_ROTATION_BACKUP_COUNT", "2")
    keep = {"replicas": {"min": 1, "max": 1, "num_cpus": 0.5}, "keep": {"per_key": 20}}
    parts = {"ingress": {"min": 2, "max": 2, "num_cpus": 0.25}, "evaluator": keep, "links": {"images": 50}}
    samples, ended, titles = _Samples(), threading.Event(), dict[int, str]()
    with (
        running_service(tmp_path, small_checkpoint, model={"replicas": {"num_cpus": 0.5}}, **parts) as service,
        Load(service.base, clients=4, steps=4) as load,
    ):
        others = threading.Thread(target=_others, args=(service, ended))
        others.start()
        begun = time.monotonic()
        while (second := time.monotonic() - begun) < 60 * MINUTES:
            for name, value in _measured(service, tmp_path / "state", titles):
                samples.add(name, second, value)
            time.sleep(10)
        logs = {path: path.stat().st_size for path in _logs(service) if path.name.startswith("worker-")}
        ended.set()
        others.join()
    assert set(load.outcomes) == {"answered"}, load.outcomes
    grown = _report(samples, load.answered)
    print(f"largest log of a worker {max(logs.values()):,} bytes")
    assert not grown, grown
    assert max(logs.values()) <= LOG_BYTES
    assert [path for path in logs if path.name.endswith(".out.1")], "no log was long enough to be rotated"


def _measured(service: Running, state: Path, titles: dict[int, str]) -> Iterator[tuple[str, float]]:
    for process in service.process.children(recursive=True):
        with suppress(psutil.Error):
            # Ray changes the title of a process with its work.
            title = titles.setdefault(process.pid, process.cmdline()[0].split()[0].rsplit("/", 1)[-1][:40])
            name = f"{title} {process.pid}"
            yield f"MiB {name}", process.memory_full_info().uss / MIB
            yield f"descriptors {name}", process.num_fds()
    yield "files of the state", sum(1 for path in state.rglob("*") if path.is_file())
    yield "series of metrics", len(service.counts(".*"))
    yield "MiB of logs", sum(path.stat().st_size for path in _logs(service)) / MIB


def _logs(service: Running) -> list[Path]:
    """Files in the log folder of the service's session of Ray, which the command of its raylet names."""
    commands = [" ".join(one.cmdline()) for one in service.process.children() if one.name() == "raylet"]
    (folder,) = {found for command in commands for found in re.findall(r"/\S*?/session_[\w-]+/logs", command)}
    return [path for path in Path(folder).rglob("*") if path.is_file()]


def _others(service: Running, ended: threading.Event) -> None:
    """Further load: streams, links, errors, and evaluations that are started, read, deleted and left."""
    with openai.OpenAI(base_url=f"{service.base}/v1", api_key="none", max_retries=8) as client:
        image = base64.b64decode(client.images.generate(prompt="NV", response_format="b64_json").data[0].b64_json)
        for number in range(10**6):
            if ended.is_set():
                return
            list(client.images.generate(prompt="a round brown lesion", stream=True, partial_images=2))
            client.images.generate(prompt="NV", response_format="url", n=2)
            with suppress(openai.BadRequestError):
                client.images.generate(prompt="", n=99)
            files = [("images", (f"{at}.png", image)) for at in range(8)]
            headers = {"content-type": "multipart/form-data"}
            options = {"headers": headers}
            made = client.post("/evaluations/images", body={}, files=files, options=options, cast_to=dict)
            client.get("/evaluations", cast_to=dict)
            if number % 2:
                client.delete(f"/evaluations/{made['id']}", cast_to=dict)
            ended.wait(1)


def _report(samples: _Samples, answered: int) -> list[str]:
    """Print the growth of everything; return what grew."""
    grown = []
    print(f"\n{MINUTES:g} minutes, {answered} images; value after {WARM:.0%} of the time, and growth to the end")
    for name in samples.values:
        if len(samples.values[name]) < 0.8 * max(map(len, samples.values.values())):
            continue  # a process that was there for a part of the time
        first, more = samples.growth(name, WARM * 60 * MINUTES)
        print(f"  {name:60} {first:10.1f} {more:+8.1f}")
        allowed = max(4.0, 0.02 * first) if name.startswith("MiB") else max(3.0, 0.02 * first)
        if more > allowed:
            grown.append(f"{name}: {first:.1f} {more:+.1f}")
    return grown
