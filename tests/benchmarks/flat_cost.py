"""Costs that must not grow with the number of images: memory of the driver, and time until a stage goes on.

    python -m tests.benchmarks.flat_cost [--before CHECKOUT] [--rows 4000000] [--repetitions 3] [--directory DIR]

Each measurement is a process of its own; ``before`` is another checkout, whose processes are run in turns with ours.

driver_bytes_per_row       growth of the driver's peak from a quarter of the rows to all of them, with Ray, two actors
                           and parts on a local disk: plan, map, seal
instant_bytes_per_row      the same from 1 to 16 times a million rows, with an engine that answers at once
resume_vs_before           seconds until a stage has its first work item when all rows but 256 are done, before over now
cost_vs_quarter            seconds a row of all rows over those of a quarter of them, with Ray
evaluate_peak_2m_vs_200k   peak of a process that draws the samples of 2 million drawn measurements and reduces them to
                           metrics, over that of 200,000; a quarter of the images is held out
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.table import report

SCRIPT = Path(__file__).with_name("flat_cost_process.py")
HERE = Path(__file__).parents[2]


def process(checkout: Path, *arguments: Any) -> dict[str, Any]:
    """Run a measurement in a process of its own."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(checkout), str(SCRIPT.parent)])}
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, env=environment, cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def slope(few: dict[str, Any], many: dict[str, Any], rows: int) -> float:
    """Growth of the peak in bytes per row."""
    return float(many["peak_bytes"] - few["peak_bytes"]) / rows


def measure(folder: str, rows: int, repetitions: int, before: Path | None) -> tuple[dict[str, float], dict[str, float]]:
    """Ratios and values."""
    quarter, million = rows // 4, 1_000_000
    for count in (quarter, rows):
        process(HERE, "write", folder, count)
    mapped: list[tuple[dict[str, Any], dict[str, Any]]] = []
    instant, resumed = [], []
    for number in range(repetitions):
        few, many = (process(HERE, "map_all", folder, count, f"m{number}r{count}") for count in (quarter, rows))
        assert not many["imports_torch"], "the driver imported torch"
        mapped.append((few, many))
        print(f"with Ray: {slope(few, many, rows - quarter):.2f} bytes a row, {few} and {many}", flush=True)
        sizes = (million, 16 * million)
        instant.append([process(HERE, "instantly", folder, size // 512 * 512, uuid.uuid4().hex[:12]) for size in sizes])
    output = f"m0r{rows}"
    _unseal(Path(folder), output)
    checkouts = {HERE: folder}
    if before:
        checkouts[before] = f"{folder}/before"  # it reads no manifest of many parts
        process(before, "write", checkouts[before], rows)
        shutil.copytree(Path(folder, "captions", output, "parts"), Path(folder, "before/captions", output, "parts"))
    for _ in range(repetitions):
        resumed.append([process(one, "resume", of_it, rows, output)["seconds"] for one, of_it in checkouts.items()])
        print(f"resume: {resumed[-1]} s", flush=True)
    evaluated = []
    for count in (200_000, 2_000_000):
        process(HERE, "write_measured", f"{folder}/evaluate", count)
        evaluated.append(process(HERE, "evaluate", f"{folder}/evaluate", count))
        print(f"evaluate: {evaluated[-1]}", flush=True)
    values = {
        "evaluate_peak_mb": evaluated[1]["peak_bytes"] / 1e6,
        "driver_bytes_per_row": median(slope(few, many, rows - quarter) for few, many in mapped),
        "instant_bytes_per_row": median(slope(few, many, 15 * million) for few, many in instant),
        "instant_seconds_per_row": median((many["seconds"] - few["seconds"]) / 15 / million for few, many in instant),
        "driver_peak_mb": median(many["peak_bytes"] for _, many in mapped) / 1e6,
        "map_seconds": median(many["seconds"] for _, many in mapped),
        "resume_seconds": median(now[0] for now in resumed),
    }
    ratios = {"evaluate_peak_2m_vs_200k": evaluated[1]["peak_bytes"] / evaluated[0]["peak_bytes"]}
    ratios |= {"cost_vs_quarter": median(many["seconds"] / few["seconds"] / 4 for few, many in mapped)}
    if before:
        ratios["resume_vs_before"] = median(then / now for now, then in resumed)
    return ratios, values


def _unseal(folder: Path, output: str) -> None:
    """Make a finished version one that lacks its last part."""
    (folder / "captions" / output / "manifest.json").unlink()
    max((folder / "captions" / output / "parts").iterdir()).unlink()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--repetitions", type=int, default=3)
    asked = parser.parse_args()
    rows = asked.rows // 2048 * 2048
    with tempfile.TemporaryDirectory(dir=asked.directory) as folder:
        ratios, values = measure(folder, rows, asked.repetitions, asked.before)
    report("flat_cost", {"rows": rows, "repetitions": asked.repetitions, "device": "cpu"}, ratios, values)


if __name__ == "__main__":
    main()
