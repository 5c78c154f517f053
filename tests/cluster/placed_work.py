"""A driver of its own: joins a cluster, runs what is named there, and prints where it ran, as JSON on the last line.

``python -m tests.cluster.placed_work ADDRESS FOLDER WORK [section.key=value ...]``
"""

import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from vapray.config import Cluster, Config
from vapray.config.loader import load_config
from vapray.errors import VaprayError
from vapray.runtime.cluster import ray_session, require_resources, run_remote
from vapray.runtime.placement import train_demand
from vapray.runtime.progress import StageProgress
from vapray.runtime.row_map import map_rows
from vapray.runtime.stage_context import StageContext
from vapray.store.run_store import Store
from vapray.store.tables import TABLES, build_part
from vapray.store.version import Version
from vapray.training.stage import scaling_of

ROWS, ROWS_AT_ONCE = 8, 1


def resources_here() -> list[str]:
    """Names of the resources of the node on which this runs."""
    import ray

    here = ray.get_runtime_context().get_node_id()
    return sorted(next(node["Resources"] for node in ray.nodes() if node["NodeID"] == here))


class Map:
    """Writes a line on where it ran, and takes its time, so that a pool grows."""

    def __init__(self, diary: Path) -> None:
        self.diary = diary

    def __call__(self, rows: pa.Table) -> pa.Table:
        time.sleep(0.2)
        with open(self.diary, "a") as diary:
            diary.write(json.dumps(resources_here()) + "\n")
        return build_part(TABLES["captions"], [row | {"caption": "round"} for row in rows.to_pylist()])


def pool(config: Config, folder: Path) -> Any:
    """The map of rows, over an actor pool."""
    images = Store(str(folder)).version("images", "0" * 12)
    rows = [{"image_id": f"image-{n:02}", "label": 0, "split": "train", "group": "g"} for n in range(ROWS)]
    images.write_part(build_part(TABLES["images"], rows))
    output = Version(images.files, "captions", "1" * 12)
    run = StageContext("caption", config, {}, output, StageProgress("caption", None), time.monotonic(), {})
    columns = ["image_id", "label", "split", "group"]
    map_rows(run, images, partial(Map, folder / "diary"), pool=config.pools.caption, columns=columns)
    assert len(output.committed_keys()) == ROWS
    return [json.loads(line) for line in (folder / "diary").read_text().splitlines()]


def task(config: Config, folder: Path) -> Any:
    """One task with the resources of a pool's actor."""
    return [run_remote("caption", resources_here, pool=config.pools.caption)]


def training(config: Config, folder: Path) -> Any:
    """A group of Ray Train, as the stage asks for it."""
    from ray.train import RunConfig
    from ray.train.torch import TorchTrainer

    require_resources(train_demand(config))
    storage = RunConfig(name="placed", storage_path=str(folder))
    trainer = TorchTrainer(partial(_note, folder), scaling_config=scaling_of(config.train), run_config=storage)
    trainer.fit()
    return [json.loads(path.read_text()) for path in sorted(folder.glob("rank-*"))]


def _note(folder: Path) -> None:
    import ray.train

    rank = ray.train.get_context().get_world_rank()
    (folder / f"rank-{rank}").write_text(json.dumps(resources_here()))


def main() -> None:
    """Prints ``{"ran": [...]}``, or ``{"refused": message, "seconds": ...}``."""
    address, folder, work, *overrides = sys.argv[1:]
    config = load_config(None, overrides)
    with ray_session(Cluster(address=address)):
        began = time.monotonic()
        try:
            answer = {"ran": globals()[work](config, Path(folder))}
        except VaprayError as error:
            answer = {"refused": str(error), "seconds": time.monotonic() - began, "code": error.exit_code}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
