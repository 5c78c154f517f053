"""Rows that kill the process which maps them, and devices that fail: bounded retries; what was committed stays."""

import os
import time
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from vapray.config import Cluster, Config, Pool
from vapray.errors import BackendError
from vapray.runtime.cluster import RETRIES_OF_A_TASK, ray_session, run_remote
from vapray.runtime.progress import StageProgress
from vapray.runtime.row_map import MAX_ACTOR_RESTARTS, map_rows
from vapray.runtime.stage_context import StageContext
from vapray.store.run_store import Store
from vapray.store.tables import TABLES, build_part
from vapray.store.version import Version

COLUMNS = ["image_id", "label", "split", "group"]
POISON = "image-03"


class Map:
    """Says in a file what it was asked for, and dies of one row unless it is told to bear it."""

    def __init__(self, diary: Path, bears: bool, fails: bool = False) -> None:
        self.diary, self.bears, self.fails = diary, bears, fails

    def __call__(self, rows: pa.Table) -> pa.Table:
        asked = rows.to_pylist()
        ids = [row["image_id"] for row in asked]
        with open(self.diary, "a") as diary:
            diary.write(" ".join([*ids, f"process-{os.getpid()}"]) + "\n")
        if self.fails and POISON in ids and self.diary.read_text().count(POISON) < 3:
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        if POISON in ids and not self.bears:
            os._exit(1)
        return build_part(TABLES["captions"], [row | {"caption": "round"} for row in asked])


@pytest.fixture(scope="module", autouse=True)
def ray_is_up():
    with ray_session(Cluster(num_cpus=2)):
        yield


@pytest.fixture
def images(tmp_path) -> Version:
    version = Store(str(tmp_path)).version("images", "0" * 12)
    rows = [{"image_id": f"image-{n:02}", "label": 0, "split": "train", "group": "g"} for n in range(8)]
    version.write_part(build_part(TABLES["images"], rows))
    return version


def map_images(images: Version, diary: Path, *, bears: bool, fails: bool = False) -> None:
    output = Version(images.files, "captions", "1" * 12)
    run = StageContext("caption", Config(), {}, output, StageProgress("caption", None), time.monotonic(), {})
    pool = Pool(batch_rows=2, max_size=1)
    map_rows(run, images, partial(Map, diary, bears, fails), pool=pool, columns=COLUMNS)


@pytest.mark.slow
def test_a_row_that_kills_its_process_ends_in_a_clear_failure_and_costs_no_other_row(images, tmp_path):
    diary = tmp_path / "diary"
    with pytest.raises(BackendError) as failure:
        map_images(images, diary, bears=False)
    assert failure.value.exit_code == 5
    assert f"pools.caption died after {MAX_ACTOR_RESTARTS} restarts" in str(failure.value)
    asked = diary.read_text()
    assert asked.count(f"image-02 {POISON}") == MAX_ACTOR_RESTARTS + 1  # it did die, and not for ever
    output = Version(images.files, "captions", "1" * 12)
    committed = output.committed_keys()
    assert POISON not in committed
    diary.unlink()
    map_images(images, diary, bears=True)
    assert output.committed_keys() == {f"image-{n:02}" for n in range(8)}
    assert not committed & set(diary.read_text().split())


def test_rows_of_a_failed_device_are_mapped_by_another_process(images, tmp_path):
    diary = tmp_path / "diary"
    map_images(images, diary, bears=True, fails=True)
    tries = [line.split()[-1] for line in diary.read_text().splitlines() if POISON in line]
    assert len(tries) == len(set(tries)) == 3  # it failed twice, and no process was used again
    output = Version(images.files, "captions", "1" * 12)
    assert output.committed_keys() == {f"image-{n:02}" for n in range(8)}


def die(diary: Path) -> None:
    with open(diary, "a") as file:
        file.write("asked\n")
    os._exit(1)


@pytest.mark.slow
def test_a_task_that_kills_its_process_ends_in_a_clear_failure(tmp_path):
    with pytest.raises(BackendError, match=r"^evaluate: its process died 3 times, most often because memory ran out"):
        run_remote("evaluate", die, tmp_path / "diary", pool=Pool())
    assert (tmp_path / "diary").read_text().count("asked") == RETRIES_OF_A_TASK + 1 == 3
