"""Costs of a row and a byte for driver and loader: constants of ``vapray capacity``.

    python -m tests.benchmarks.driver_costs [--rows 400000] [--repetitions 3]

Seconds are CPU time, because wall time depends on the load of the machine. Each cost is the slope between a
quarter of the rows and all of them, which leaves out fixed costs. Each is measured in a new process; bytes are the
growth of its resident memory while it holds the result. Local disk.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

from tests.benchmarks.manifest_scale import _part as part_of_images
from tests.benchmarks.table import report
from vapray.bank.prompt_bank import PromptBank
from vapray.config import Config
from vapray.latents.latent_space import LatentSpace
from vapray.store.run_store import Store
from vapray.store.tables import REJECT, TABLES
from vapray.store.version import Version
from vapray.training.batches import Batches
from vapray.training.dataset import TrainingRows

ROWS_OF_A_PART, ROWS_OF_AN_ITEM = 512, 256
MOMENTS, LATENTS_OF_A_PART, PARTS_OF_LATENTS = (8, 32, 32), 512, 12
WIDTH, SHORTEST, LONGEST, BATCH = 768, 60, 120, 64
CAPTION = "A round red lesion, about 35% of the image, on pale skin, with a smooth outline and an even texture. " * 3


def _bank(folder: Path, rows: int) -> Any:
    """All captions as the driver of ``sample`` holds them."""
    row = {"label": 0, "split": "train", "group": ""}
    bank = PromptBank.from_rows(row | {"image_id": f"{n:09d}", "caption": f"{n:09d} {CAPTION}"} for n in range(rows))
    assert len(bank.entries(0)) == rows
    return bank


def _report_rows(folder: Path, rows: int) -> Any:
    """Measurements as the driver of ``evaluate`` holds them: 192 features a picture."""
    features = np.random.default_rng(0).standard_normal(192 * 1000).astype(np.float32).tobytes()
    names = {name: [name] * rows for name in ("set", "attributes")}
    cells = [features[768 * (n % 1000) : 768 * (n % 1000 + 1)] for n in range(rows)]
    table = pa.table({"key": [f"{n:09d}" for n in range(rows)], **names, "features": cells})
    held = table.to_pylist()
    stacked = np.stack([np.frombuffer(row["features"], np.float32) for row in held]).astype(np.float64)
    assert stacked.shape == (rows, 192)
    return held, stacked


WORK: dict[str, Callable[[Path, int], Any]] = {
    "prompt_bank": _bank,
    "report_rows": _report_rows,
}


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--repetitions", type=int, default=3)
    asked = parser.parse_args()
    sizes = (asked.rows // 4, asked.rows)
    values: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for rows in sizes:
            _write_images(Store(folder).version("images", f"v{rows}"), rows)
        for name in WORK:
            runs = [[_in_a_process(name, folder, rows) for rows in sizes] for _ in range(asked.repetitions)]
            values |= {
                f"{name}_{key}_per_row": median((many[key] - few[key]) / (sizes[1] - sizes[0]) for few, many in runs)
                for key in ("seconds", "bytes")
            }
    values["batch_row_seconds"] = median(_batch_row_seconds() for _ in range(asked.repetitions))
    config = {"rows": list(sizes), "rows_of_a_part": ROWS_OF_A_PART, "moments": list(MOMENTS), "context_width": WIDTH}
    report("driver_costs", config | {"device": "cpu", "repetitions": asked.repetitions}, {}, values)


def _write_images(version: Version, rows: int) -> None:
    for begin in range(0, rows, ROWS_OF_A_PART):
        version.write_part(part_of_images(begin, min(begin + ROWS_OF_A_PART, rows)))
    version.seal(stage="x", sections={}, inputs={}, seconds=0, versions={}, notes={})


def _in_a_process(name: str, folder: str, rows: int) -> dict[str, float]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_timed, (name, Path(folder), rows))


def _timed(name: str, folder: Path, rows: int) -> dict[str, float]:
    before, began = psutil.Process().memory_info().rss, time.process_time()
    held = WORK[name](folder, rows)
    seconds = time.process_time() - began
    found = {"seconds": seconds, "bytes": psutil.Process().memory_info().rss - before}
    assert held
    return found


def _latents(number: int, noise: np.ndarray[Any, Any]) -> pa.Table:
    ids = [f"{number:04d}-{row:06d}" for row in range(len(noise))]
    columns = {
        "key": ids,
        "image_id": ids,
        "label": [0] * len(ids),
        "split": ["train"] * len(ids),
        "group": ids,
        "flipped": [False] * len(ids),
        "moments": [row.tobytes() for row in noise],
        **{name: [size] * len(ids) for name, size in zip(("channels", "height", "width"), (4, 32, 32), strict=True)},
        REJECT: [None] * len(ids),
    }
    return pa.table(columns, schema=TABLES["latents"].schema)


def _batch_row_seconds() -> float:
    """Of one rank for a row of the paper's sizes that the system's cache holds."""
    rng, count = np.random.default_rng(0), 512
    lengths = rng.integers(SHORTEST, LONGEST + 1, count)
    rows = TrainingRows(
        np.arange(count, dtype=np.int32) % 7,
        rng.standard_normal((count, 2, *MOMENTS)).astype(np.float16),
        rng.standard_normal((int(lengths.sum()), WIDTH)).astype(np.float16),
        np.concatenate([[0], np.cumsum(lengths)]),
    )
    space = LatentSpace(MOMENTS[0] // 2, MOMENTS[1], (0.0,) * 4, (1.0,) * 4)
    config = Config.model_validate({"train": {"batch_size": BATCH}, "run": {"root": "nowhere"}})
    batches = Batches(config, rows, space, rank=0, world=1)
    batches.at(0)
    began = time.process_time()
    for step in range(1, 9):
        batches.at(step)
    return (time.process_time() - began) / 8 / BATCH


if __name__ == "__main__":
    main()
