"""Cost of a row of ingest on many small files, against another checkout of the project.

    python -m tests.benchmarks.ingest_scale [--reference CHECKOUT] [--rows 100000] [--repetitions 3] [--directory DIR]

Two costs: ``listing``, the CPU time to sign and list the folder and take its inventory, in a process of its own; and
``ingest``, the wall time of the job ``jobs.ingest``, which also decodes every image. The checkouts take turns. A ratio
is this checkout's rows per second over the reference's: above 1 is faster. Local disk, cached by the system.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from tests.benchmarks.table import report
from tests.conftest import ROOT

CLASSES, SIDE = 10, 32
LISTING = """
import json, resource, sys, time
from vapray.data.folder import Folder
source = Folder(sys.argv[1])
began = time.process_time()
source.signature()
records = source.records()
try:
    from vapray.data.inventory import take_inventory
except ImportError:  # the reference has no inventory
    pass
else:
    take_inventory(source, records)
seconds = time.process_time() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"rows": len(records), "seconds": seconds, "peak_mb": peak}))
"""


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--directory", type=Path)
    asked = parser.parse_args()
    checkouts = {"": ROOT} | ({"reference": asked.reference.absolute()} if asked.reference else {})
    with tempfile.TemporaryDirectory(dir=asked.directory) as folder:
        root = _write_images(Path(folder) / "data", asked.rows)
        found: dict[str, list[float]] = {}
        for _ in range(asked.repetitions):
            for name, checkout in checkouts.items():
                suffix = f"_{name}" if name else ""
                listing = _listing(checkout, root, asked.rows)
                found.setdefault(f"listing_rows_per_second{suffix}", []).append(asked.rows / listing["seconds"])
                found.setdefault(f"listing_peak_mb{suffix}", []).append(listing["peak_mb"])
                seconds = _ingest(checkout, root, Path(folder) / "run")
                found.setdefault(f"ingest_rows_per_second{suffix}", []).append(asked.rows / seconds)
    values = {key: median(numbers) for key, numbers in found.items()}
    ratios = {
        f"{cost}_vs_reference": values[f"{cost}_rows_per_second"] / values[f"{cost}_rows_per_second_reference"]
        for cost in ("listing", "ingest")
        if asked.reference
    }
    config = {"rows": asked.rows, "classes": CLASSES, "pixels": SIDE, "repetitions": asked.repetitions, "device": "cpu"}
    report("ingest_scale", config, ratios, values)


def _write_images(root: Path, rows: int) -> Path:
    rng = np.random.default_rng(0)
    for label in range(CLASSES):
        (root / f"class {label}").mkdir(parents=True)
    for number in range(rows):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(buffer, "JPEG")
        (root / f"class {number % CLASSES}" / f"{number:07d}.jpg").write_bytes(buffer.getvalue())
    return root


def _listing(checkout: Path, root: Path, rows: int) -> dict[str, float]:
    done = _python(checkout, "-c", LISTING, str(root))
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    assert found["rows"] == rows
    return found


def _ingest(checkout: Path, root: Path, run: Path) -> float:
    settings = ["data.source=folder", f"data.root={root}", f"run.root={run}"]
    began = time.monotonic()
    _python(checkout, "-m", "jobs.ingest", *settings)
    seconds = time.monotonic() - began
    shutil.rmtree(run)
    return seconds


def _python(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=checkout, env=environment, check=True, capture_output=True, text=True)


if __name__ == "__main__":
    main()
