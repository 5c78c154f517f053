"""Work runs where its resources are, is refused where they cannot be, and waits where an autoscaler adds them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.autoscaled import autoscaled
from tests.cluster.raylets import MEMORY, OPEN, raylets
from tests.conftest import ROOT

CAPTION = ("pools.caption.resources={caption: 1}", "pools.caption.batch_rows=1")
TRAIN = ("train.resources_per_worker={train: 1}",)
GROWING = pytest.mark.xdist_group("growing cluster")


@pytest.fixture(scope="module")
def nodes() -> Iterator[str]:
    """A head without a role, two CPUs for captions, two for training."""
    roles = ({"num_cpus": 2, "resources": {role: 2}} for role in ("caption", "train"))
    with raylets({"num_cpus": 2}, *roles) as cluster:
        yield cluster.address


@pytest.fixture(scope="module")
def growing() -> Iterator[str]:
    """A head of one CPU, and at most two nodes for captions, none of which is up."""
    caption = {"resources": {"CPU": 2, "caption": 1, "object_store_memory": MEMORY}, "max_workers": 2}
    with autoscaled(caption=caption) as address:
        yield address


def driven(address: str, folder: Path, work: str, *overrides: str) -> tuple[dict[str, Any], str]:
    """What the driver answers, and all that it said."""
    command = [sys.executable, "-m", "tests.cluster.placed_work", address, str(folder), work, *overrides]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **OPEN}, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stdout


def test_the_actors_of_a_pool_run_only_on_nodes_with_its_resource(nodes, tmp_path):
    answer, _ = driven(nodes, tmp_path, "pool", *CAPTION)
    assert len(answer["ran"]) == 8
    assert all("caption" in resources and "train" not in resources for resources in answer["ran"])


def test_a_single_task_runs_only_on_nodes_with_its_resource(nodes, tmp_path):
    ((resources,), _) = driven(nodes, tmp_path, "task", "pools.caption.resources={train: 0.5}")[0]["ran"], ""
    assert "train" in resources


@pytest.mark.slow
def test_workers_of_training_run_only_on_nodes_with_their_resource(nodes, tmp_path):
    answer, _ = driven(nodes, tmp_path, "training", *TRAIN)
    assert len(answer["ran"]) == 2 and all("train" in resources for resources in answer["ran"])


@pytest.mark.slow
def test_elastic_workers_run_only_on_nodes_with_their_resource(nodes, tmp_path):
    answer, _ = driven(nodes, tmp_path, "training", *TRAIN, "train.min_workers=1")
    assert answer["ran"] and all("train" in resources for resources in answer["ran"])


REFUSED = {
    "more than any node has": (
        "task", ["pools.caption.num_cpus=3"],
        "a task of caption needs 3 CPUs on one node, and the largest, node ", "has 2 CPUs. Request less",
    ),
    "a resource of two nodes": (
        "task", ["pools.caption.resources={caption: 1, train: 1}"],
        "needs 0.5 CPUs, 1 caption and 1 train on one node", "has 2 CPUs, ",
    ),
    "a resource of none": (
        "pool", ["pools.caption.resources={capton: 1}"],
        "an actor of caption needs 1 capton and the cluster has 0",
        "or request resources that nodes have: caption, train",
    ),
    "a group of workers": (
        "training", ["train.workers=4", *TRAIN],
        "train.workers 4 needs 4 train and the cluster has 2", "Request less",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", REFUSED)
def test_what_no_node_can_ever_hold_is_refused_at_once(case, nodes, tmp_path):
    work, overrides, *words = REFUSED[case]
    answer, _ = driven(nodes, tmp_path, work, *overrides)
    assert answer["code"] == 5 and answer["seconds"] < 20
    assert all(word in answer["refused"] for word in words), answer["refused"]


@GROWING
@pytest.mark.slow
def test_a_stage_whose_nodes_an_autoscaler_adds_says_that_it_waits_and_finishes(growing, tmp_path):
    answer, said = driven(growing, tmp_path, "pool", *CAPTION)
    assert len(answer["ran"]) == 8 and all("caption" in resources for resources in answer["ran"])
    waits = "waiting for nodes: an actor of caption needs 1 caption and the cluster has 0"
    assert said.count(waits) == 1 and "the autoscaler is adding some" in said  # so no node for captions was up before


@GROWING
@pytest.mark.slow
@pytest.mark.parametrize(
    ("work", "overrides"),
    [("task", ["pools.caption.num_cpus=3"]), ("training", ["train.workers=3", "train.resources_per_worker.caption=1"])],
)
def test_what_no_node_type_of_the_autoscaler_can_hold_is_refused(work, overrides, growing, tmp_path):
    answer, _ = driven(growing, tmp_path, work, *overrides, "train.batch_size=60")
    assert answer["code"] == 5 and "no node type of its autoscaler can add it" in answer["refused"]
