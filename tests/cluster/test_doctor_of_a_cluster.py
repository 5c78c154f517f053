"""``vapray doctor`` on running clusters of real raylets, each with one fault."""

import os
import signal
from pathlib import Path

import pytest

from tests.cluster.raylets import OPEN, raylets
from vapray.config.file import load
from vapray.doctor import cluster
from vapray.doctor.findings import Finding

ASIDE = """
import sys, time
real = time.time
time.time = lambda: real() + 100

class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, *more):
        return None if name == "vapray" else self.finder.find_spec(name, *more)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""


@pytest.fixture(autouse=True)
def _open(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for name, value in OPEN.items():
        monkeypatch.setenv(name, value)


def findings(address: str, *overrides: str) -> dict[str, Finding]:
    config = load(None, [f"cluster.address={address}", "cluster.shared_filesystem=true", *overrides])
    return {finding.check: finding for finding in cluster.check(config)}


def test_a_sound_cluster_passes_and_no_file_stays(tmp_path):
    root = f"run.root={tmp_path / 'runs' / 'one'}"
    with raylets({"num_cpus": 4}, {"num_cpus": 2, "resources": {"caption": 1}}) as nodes:
        found = findings(nodes.address, root, "pools.caption.resources.caption=1")
        bad = findings(nodes.address, root, "train.workers=7", "train.batch_size=63")["places"]
    assert {finding.check for finding in found.values() if finding.state != "ok"} == set(), found
    assert "2 nodes, 6 CPUs" in found["ray"].found and "read by all" in found["shared run.root"].found
    assert list(tmp_path.iterdir()) == []
    assert (bad.state, bad.exit_code) == ("failed", 5) and "train.workers 7 needs 7 CPUs" in bad.found


@pytest.mark.slow
def test_a_node_that_does_not_answer_is_found_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "NODE_SECONDS", 15)
    with raylets({"num_cpus": 4}, {}) as nodes:
        os.kill(nodes.pids[1], signal.SIGSTOP)
        found = findings(nodes.address, f"run.root={tmp_path}")
    assert (found["nodes"].state, found["nodes"].exit_code) == ("failed", 5)
    assert "2 alive, 0 dead; no answer within 15 s from node" in found["nodes"].found
    assert found["clocks"].state == "ok"  # the other nodes are still checked


@pytest.mark.slow
def test_a_clock_that_is_off_and_a_missing_package_are_named(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(ASIDE)
    with raylets({"num_cpus": 4}, {"env_vars": {"PYTHONPATH": str(tmp_path)}}) as nodes:
        found = findings(nodes.address, f"run.root={tmp_path / 'run'}")
    assert (found["clocks"].state, found["clocks"].exit_code) == ("failed", 3)
    assert "a lease tolerates 45 s" in found["clocks"].found
    assert found["node packages"].state == "warning" and "no vapray on node" in found["node packages"].found


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount another folder for one node")
def test_a_folder_that_is_another_one_on_each_node_is_not_shared(tmp_path: Path):
    shared = tmp_path / "shared"
    (shared / "images").mkdir(parents=True)
    (shared / "images" / "a.png").write_bytes(b"")
    settings = (f"run.root={shared / 'run'}", "data.source=folder", f"data.root={shared / 'pictures'}")
    with raylets({"num_cpus": 4}, {"hides": str(shared)}) as nodes:
        found = findings(nodes.address, *settings)
    assert (found["shared run.root"].state, found["shared run.root"].exit_code) == ("failed", 2)
    assert "finds no file in it" in found["shared run.root"].found
    assert (found["node data.root"].state, found["node data.root"].exit_code) == ("failed", 3)
