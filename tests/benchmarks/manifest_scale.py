"""A large manifest through the whole captioning stage with captions that cost nothing: commit, kill, resume.

    python -m tests.benchmarks.manifest_scale [--rows 1000000] [--directory DIR]

The rows name pictures that do not exist, so whatever reads a picture fails. The command is killed once half of the rows
are committed, and run again. Memory is the driver's alone (resident set, every half second).
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
from PIL import Image

from tests.benchmarks.table import report
from vapray.config.loader import load_config
from vapray.pipeline.runner import PipelineRunner
from vapray.pipeline.stages import STAGES
from vapray.runtime.progress import Display
from vapray.store.tables import REJECT, TABLES

ROWS_OF_A_PART, ROWS_OF_A_BATCH = 8192, 4096


class _Command:
    """One start of the captioning job, its memory watched."""

    def __init__(self, words: list[str]) -> None:
        command = [sys.executable, "-m", "jobs.caption", *words]
        self.began = time.monotonic()
        self.process = psutil.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        self.memory_mb: list[float] = []

    def wait_until(self, holds: Callable[[], bool] = lambda: False) -> float:
        """Until it ends or something holds; seconds since its start."""
        while self.process.poll() is None and not holds():
            try:
                self.memory_mb.append(self.process.memory_info().rss / 1e6)
            except psutil.NoSuchProcess:
                break
            time.sleep(0.5)
        return time.monotonic() - self.began


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--directory", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.directory) as folder:
        _measure(asked.rows, Path(folder))


def _measure(rows: int, folder: Path) -> None:
    words = _settings(folder)
    _write_images(words, rows)

    def parts() -> int:
        return len(list(folder.glob("run/captions/*/parts/*.parquet")))

    half = rows // ROWS_OF_A_BATCH // 2
    first = _Command(words)
    seconds_of_half = first.wait_until(lambda: parts() >= half)
    assert first.process.poll() is None, "it ended before it could be killed"
    first.process.kill()
    first.process.wait()
    done = parts()
    second = _Command(words)
    resume_seconds = second.wait_until(lambda: parts() > done)
    whole_seconds = second.wait_until()
    assert second.process.wait() == 0
    _check(words, rows)
    memory = first.memory_mb + second.memory_mb
    late = second.memory_mb[len(second.memory_mb) // 2 :]
    report(
        "manifest_scale",
        {"rows_of_a_part": ROWS_OF_A_PART, "rows_of_a_batch": ROWS_OF_A_BATCH, "device": "cpu", "repetitions": 1},
        {"driver_memory_end_vs_middle": late[-1] / late[0]},
        {
            "rows": rows,
            "rows_per_second": rows / (seconds_of_half + whole_seconds),
            "driver_peak_mb": max(memory),
            "resume_seconds": resume_seconds,
        },
    )


def _settings(folder: Path) -> list[str]:
    """A tiny dataset for the manifest to belong to, and captions taken from its own texts."""
    dataset = folder / "dataset"
    for number, name in enumerate(("a", "b")):
        (dataset / name).mkdir(parents=True)
        Image.fromarray(np.full((32, 32, 3), number * 99, np.uint8)).save(dataset / name / f"{name}.png")
    return [
        f"run.root={folder / 'run'}",
        "data.source=folder",
        f"data.root={dataset}",
        "caption.captioner=precomputed",
        f"pools.caption.batch_rows={ROWS_OF_A_BATCH}",
    ]


def _write_images(words: list[str], rows: int) -> None:
    """The table of a finished ingest, so many rows long."""
    ingest = STAGES[0]
    standing = PipelineRunner(load_config(None, words), Display()).status(ingest)
    version = standing.version
    assert version is not None
    for begin in range(0, rows, ROWS_OF_A_PART):
        version.write_part(_part(begin, min(begin + ROWS_OF_A_PART, rows)))
    version.seal(
        stage=ingest.name, sections=standing.sections, inputs=standing.inputs, seconds=0, versions={}, notes={}
    )


def _part(begin: int, end: int) -> pa.Table:
    ids = [f"image-{number:09d}" for number in range(begin, end)]
    count = len(ids)
    columns = {
        "image_id": ids,
        "label": [0] * count,
        "split": ["train"] * count,
        "group": ids,
        "class": ["a"] * count,
        "path": [f"/nowhere/{name}.png" for name in ids],
        "text": ["A round red lesion, about 35% of the image, on pale skin."] * count,
        "sha256": ["0" * 64] * count,
        "width": [640] * count,
        "height": [480] * count,
        REJECT: [None] * count,
    }
    return pa.table(columns, schema=TABLES["images"].schema)


def _check(words: list[str], rows: int) -> None:
    walk = PipelineRunner(load_config(None, words), Display())
    for stage in STAGES[:2]:
        walk.status(stage)
    manifest = walk.manifests["caption"]
    assert (manifest.rows, manifest.rejects) == (rows, 0), "every row once"


if __name__ == "__main__":
    main()
