"""A million training rows: joining them, starting on them, and the first batches of an epoch against its last.

    python -m tests.benchmarks.loading [--rows 1000000] [--batch-size 256] [--directory DIR]

Two processes, one after the other, do what a rank does before and between steps. The first finds two finished tables
and no cache; the second finds the cache and draws every batch of an epoch, without a network and without prefetch.
The last batches take turns with the first ones of rows that were opened anew, so that other work on the machine, which
comes and goes, slows both. Memory is each process's resident set, four times a second: mapped pages count, and torch.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

from tests.benchmarks.table import report
from vapray.config.loader import load_config
from vapray.latents.latent_space import LatentSpace
from vapray.store.run_store import Store
from vapray.store.tables import REJECT, TABLES
from vapray.store.version import Version
from vapray.training.batches import Batches
from vapray.training.dataset import TrainingRows, open_or_build_cache

ROWS_OF_A_PART = 4096
MOMENTS = (8, 8, 8)
WIDTH, SHORTEST, LONGEST = 32, 8, 16
CLASSES = 7
STEPS_COMPARED = 100
SPACE = LatentSpace(MOMENTS[0] // 2, MOMENTS[1], (0.0,) * 4, (1.0,) * 4)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--directory", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.directory) as folder:
        _measure(asked.rows, asked.batch_size, Path(folder))


def _measure(rows: int, batch_size: int, folder: Path) -> None:
    for version, parts in zip(_tables(folder), (_bank_parts(rows), _latents_parts(rows)), strict=True):
        for part in parts:
            version.write_part(part)
        version.seal(stage="x", sections={}, inputs={}, seconds=0, versions={}, notes={})
    made, making_mb, _ = _in_a_process(folder, rows, batch_size, steps=1)
    found, starting_mb, epoch_mb = _in_a_process(folder, rows, batch_size, steps=max(rows // batch_size, 2))
    seconds, compared = found["batch_seconds"], len(found["first_seconds"])
    tenth = -(-len(epoch_mb) // 10)
    report(
        "loading",
        {
            "moments": list(MOMENTS),
            "tokens": [SHORTEST, LONGEST],
            "context_width": WIDTH,
            "batch_size": batch_size,
            "rows_of_a_part": ROWS_OF_A_PART,
            "steps_compared": compared,
            "device": "cpu",
            "repetitions": 1,
        },
        {
            "last_vs_first_batch": float(np.median(seconds[-compared:]) / np.median(found["first_seconds"])),
            "memory_last_vs_first_tenth": max(epoch_mb[-tenth:]) / max(epoch_mb[:tenth]),
        },
        {
            "rows": rows,
            "start_seconds": found["start_seconds"],
            "peak_mb": max(starting_mb + epoch_mb),
            "bytes": sum(path.stat().st_size for path in folder.glob("cache/**/*") if path.is_file()),
            "materialise_seconds": made["start_seconds"],
            "materialise_rows_per_second": rows / made["start_seconds"],
            "materialise_peak_mb": max(making_mb),
            "batch_milliseconds": 1000 * float(np.median(seconds)),
            "slowest_batch_milliseconds": 1000 * max(seconds),
            "rows_per_second": batch_size * len(seconds) / sum(seconds),
        },
    )


def _tables(folder: Path) -> tuple[Version, Version]:
    store = Store(str(folder))
    return store.version("prompt_bank", "b"), store.version("latents", "l")


def _in_a_process(
    folder: Path, rows: int, batch_size: int, steps: int
) -> tuple[dict[str, Any], list[float], list[float]]:
    """What :func:`_rank` found, and its memory in MB until its first batch and from there on."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_rank, args=(there, folder, rows, batch_size, steps))
    process.start()
    there.close()
    memory = psutil.Process(process.pid)

    def memory_mb() -> Iterator[float]:
        while True:
            yield memory.memory_info().rss / 1e6
            if here.poll(0.25):
                return

    try:
        starting_mb = list(memory_mb())
        assert here.recv() == "started"
        epoch_mb = list(memory_mb())
        found: dict[str, Any] = here.recv()
    finally:
        process.join()
    return found, starting_mb, epoch_mb


def _rank(answer: Connection, folder: Path, rows: int, batch_size: int, steps: int) -> None:
    began = time.perf_counter()
    training_rows, batches = _open(folder, batch_size)
    assert len(training_rows) == rows, "every row is in both tables"
    start_seconds = time.perf_counter() - began
    answer.send("started")
    compared = min(STEPS_COMPARED, steps // 2)
    seconds = [_timed(batches, step) for step in range(steps - compared)]
    _, fresh = _open(folder, batch_size)
    first_seconds = []
    for place in range(compared):
        first_seconds.append(_timed(fresh, place))
        seconds.append(_timed(batches, steps - compared + place))
    # A row's number stands in its label, its moments and its length.
    number = np.arange(0, rows, max(1, rows // 1000))
    assert (training_rows.labels[number] == number % CLASSES).all()
    assert (training_rows.moments[number, 1, 0, 0, 0] == number % 1024 + 0.5).all()
    assert (np.diff(training_rows.offsets)[number] == _lengths(number)).all()
    answer.send({"start_seconds": start_seconds, "batch_seconds": seconds, "first_seconds": first_seconds})


def _open(folder: Path, batch_size: int) -> tuple[TrainingRows, Batches]:
    """All that comes before the second batch."""
    rows = open_or_build_cache(*_tables(folder), folder / "cache")
    batches = Batches(load_config(None, [f"train.batch_size={batch_size}"]), rows, SPACE, rank=0, world=1)
    batches.at(0)
    return rows, batches


def _timed(batches: Batches, step: int) -> float:
    began = time.perf_counter()
    batches.at(step)
    return time.perf_counter() - began


def _lengths(number: np.ndarray) -> np.ndarray:
    return SHORTEST + number % (LONGEST - SHORTEST + 1)


def _bank_parts(rows: int) -> Iterator[pa.Table]:
    noise = np.random.default_rng(0).standard_normal(ROWS_OF_A_PART * LONGEST * WIDTH).astype(np.float16)
    for begin in range(0, rows, ROWS_OF_A_PART):
        number = np.arange(begin, min(begin + ROWS_OF_A_PART, rows))
        ends = np.cumsum(_lengths(number)) * WIDTH * noise.itemsize
        yield _part(
            "prompt_bank",
            number,
            caption=pa.array([""] * len(number)),
            context=_binary(np.concatenate([[0], ends]), noise),
            num_tokens=_lengths(number),
            width=np.full(len(number), WIDTH),
        )


def _latents_parts(rows: int) -> Iterator[pa.Table]:
    """Cut elsewhere than the bank's."""
    pictures = ROWS_OF_A_PART // 2 - 100
    noise = np.random.default_rng(1).standard_normal((2 * pictures, *MOMENTS)).astype(np.float16)
    for begin in range(0, rows, pictures):
        number = np.arange(begin, min(begin + pictures, rows)).repeat(2)
        flipped = np.arange(len(number)) % 2
        noise[: len(number), 0, 0, 0] = number % 1024 + 0.5 * flipped
        yield _part(
            "latents",
            number,
            key=pa.array([f"image-{n:09d}/{flip}" for n, flip in zip(number, flipped, strict=True)]),
            flipped=pa.array(flipped.astype(bool)),
            moments=_binary(np.arange(len(number) + 1) * noise[0].nbytes, noise),
            channels=np.full(len(number), MOMENTS[0] // 2),
            height=np.full(len(number), MOMENTS[1]),
            width=np.full(len(number), MOMENTS[2]),
        )


def _part(table: str, number: np.ndarray, **columns: Any) -> pa.Table:
    ids = pa.array([f"image-{n:09d}" for n in number])
    split = pa.array(["train"] * len(number))
    columns |= {"image_id": ids, "label": number % CLASSES, "split": split, "group": ids}
    columns[REJECT] = pa.nulls(len(number), pa.string())
    schema = TABLES[table].schema
    return pa.table([pa.array(columns[name]).cast(schema.field(name).type) for name in schema.names], schema=schema)


def _binary(offsets: np.ndarray, values: np.ndarray) -> pa.Array:
    return pa.Array.from_buffers(
        pa.binary(), len(offsets) - 1, [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(values)]
    )


if __name__ == "__main__":
    main()
