"""Settings become a Serve application, and the load becomes a number of replicas."""

import json
import re
import socket
import sys
from types import SimpleNamespace

import pytest

from serve.app import build
from serve.deployments.autoscaling import PENDING_ROWS, PendingRows
from serve.settings import read_settings
from tests.conftest import ROOT
from tests.serve.running import free_port
from tests.serve.test_serve_file import FILES
from vapray.config.renamed_keys import SERVICE_KEYS
from vapray.errors import CheckpointError, ConfigError
from vapray.serve_file import read_serve_file
from vapray.serving import serve_until_interrupted

MODEL = {"name": "demo", "checkpoint": "runs/demo"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_projects_files_build(path):
    build(read_serve_file(str(path)).args)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"models": [MODEL], "api_keys": "keys.yaml"}, "Did you mean api_keys_file?"),
        ({"models": []}, "models"),
        ({"models": [MODEL, MODEL]}, "the name demo is used twice"),
        ({"models": [MODEL | {"name": "a/b"}]}, "models"),
        ({"models": [MODEL | {"replicas": {"min": 3, "max": 2}}]}, "min = 3 is above max = 2"),
        ({"models": [MODEL], "limits": {"body_mib": float("nan")}}, "limits.body_mib"),
    ],
)
def test_wrong_settings_are_refused_before_anything_starts(args, said):
    with pytest.raises(ConfigError) as refused:
        build(args)
    assert said in str(refused.value)


def start(file: str | None = None, checkpoints: tuple[str, ...] = (), **options: object) -> None:
    serve_until_interrupted(file, checkpoints, **{"host": None, "port": None, "keys": None, "address": None, **options})


def test_what_cannot_work_is_said_before_ray_starts(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(ConfigError, match="no model to serve"):
        start()
    with pytest.raises(ConfigError, match="no API keys are set"):
        start(checkpoints=("nowhere",), host="0.0.0.0")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}: cannot listen"):
            start(checkpoints=("nowhere",), port=port)
    with pytest.raises(CheckpointError, match="nowhere: no such folder"):
        start(checkpoints=("nowhere",), port=free_port())


@pytest.mark.parametrize(
    ("rows", "requests", "wanted"),
    [({}, 0, 0), ({"a": 0.0}, 0, 0), ({"a": 0.0}, 1, 1), ({"a": 500.0}, 3, 1), ({"a": 1500.0, "b": 1000.0}, 9, 2.5)],
)
def test_replicas_are_as_many_as_waiting_rows_ask_for(rows, requests, wanted):
    context = SimpleNamespace(aggregated_metrics={PENDING_ROWS: rows}, total_num_requests=requests)
    assert PendingRows(1000)(context) == (wanted, {})


def test_the_dashboard_shows_what_the_service_tells():
    code = "\n".join(path.read_text() for path in (ROOT / "serve").rglob("*.py"))
    from serve.deployments.sampler_metrics import DESCRIPTIONS, GAUGES

    told = {f"sampler_{name}" for name in (*DESCRIPTIONS, *GAUGES)} | set(re.findall(r'"vapray_(\w+)"', code))
    panels = json.loads((ROOT / "cluster/monitoring/grafana-serving.json").read_text())["panels"]
    shown = {name for panel in panels for target in panel["targets"] for name in names(target["expr"])}
    assert shown
    assert shown <= told


def names(expression: str) -> list[str]:
    return [re.sub("_(total|bucket)$", "", name) for name in re.findall(r"ray_vapray_(\w+)", expression)]


def test_renamed_settings_keep_their_old_names_and_are_reported(caplog):
    old = {"keys": "k.yaml", "state": "s", "docs": True, "limits": {"body_seconds": 5}}
    new = {"api_keys_file": "k.yaml", "state_dir": "s", "openapi": True, "limits": {"body_timeout_s": 5}}
    model = [MODEL | {"max_waiting": 7}], [MODEL | {"max_queued_requests": 7}]
    assert read_settings({"models": model[0], **old}) == read_settings({"models": model[1], **new})
    assert [record.getMessage().split()[1] for record in caplog.records] == [*SERVICE_KEYS]
    with pytest.raises(ConfigError, match="keys and api_keys_file are both set"):
        read_settings({"models": [MODEL], "keys": "a", "api_keys_file": "a"})
