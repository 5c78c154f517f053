"""Faults on the walk: what was cut off goes on, what is damaged is told with its code."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas
from PIL import Image

from tests.conftest import ONE_ACTOR, ROOT, SMALL

LONGER = ("train.steps=160", "train.validate_every=80")


def test_a_stage_that_was_cut_off_does_only_the_rest(run_copy, joined_job):
    """Half of the caption parts are gone, and so is the manifest, as after a kill."""
    version = next(path for path in (run_copy / "captions").iterdir())
    before = table_of(version)
    (version / "manifest.json").unlink()
    lost, *kept = sorted((version / "parts").iterdir())
    lost.unlink()
    times = {part: part.stat().st_mtime_ns for part in kept}
    done = joined_job("caption", root=run_copy)
    assert done.returncode == 0, done.stderr
    assert "rows already done" in done.stdout
    assert {part: part.stat().st_mtime_ns for part in kept} == times
    assert table_of(version) == before


def test_too_many_bad_pictures_end_with_code_6_and_a_count(tmp_path, joined_job):
    """So do pictures that vanish after ingest, with the error of the actor that misses them as it is."""
    folder, root = tmp_path / "photos" / "a", tmp_path / "run"
    folder.mkdir(parents=True)
    for number in range(8):
        Image.new("RGB", (40, 40), (number, 0, 0)).save(folder / f"{number}.png")
    (folder / "half.jpg").write_bytes(b"<html>not a picture</html>")
    settings = ("data.source=folder", f"data.root={folder.parent}")
    done = joined_job("ingest", *settings, root=root)
    assert done.returncode == 6, done.stdout + done.stderr
    assert "1 of 9 rows were rejected" in done.stderr
    assert "such as a/half: " in done.stderr
    done = joined_job("ingest", *settings, "run.max_reject_fraction=0.2", root=root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 rows" in done.stdout
    assert "1 rejects" in done.stdout
    for picture in folder.iterdir():
        _empty(picture)
    done = joined_job("caption", *settings, "run.max_reject_fraction=0.2", root=root)
    assert done.returncode == 6, done.stdout + done.stderr
    assert "8 of 8 rows were rejected" in done.stderr
    assert "Traceback" not in done.stderr


def _empty(picture: Path) -> None:
    """Overwrite files at the same size and time, since ingest would run again for others."""
    before = picture.stat()
    picture.write_bytes(bytes(before.st_size))
    os.utime(picture, ns=(before.st_atime_ns, before.st_mtime_ns))


def table_of(version: Path) -> list[dict[str, object]]:
    frame = pandas.concat(pandas.read_parquet(part) for part in (version / "parts").iterdir())
    return frame.sort_values("image_id").to_dict("records")


def start(stage: str, root: Path, *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"jobs.{stage}", f"run.root={root}", *SMALL, *ONE_ACTOR, *overrides]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_more(path: Path, pattern: str, process: subprocess.Popen[str]) -> None:
    deadline, before = time.monotonic() + 240, set(path.glob(pattern))
    while not set(path.glob(pattern)) - before:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_terminated_in_training_the_same_command_continues(run_copy, joined_job):
    """SIGTERM after the first checkpoint; then the identical command goes on from the checkpoint that it names."""
    process = start("train", run_copy, *LONGER)
    wait_for_more(run_copy, "checkpoints/*/files/steps/step-*/manifest.json", process)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 143, output + errors
    assert "the same command continues" in errors
    assert "Traceback" not in errors
    named = int(re.search(r"checkpoint written at step (\d+)", output)[1])
    unfinished = [path for path in (run_copy / "checkpoints").iterdir() if not (path / "manifest.json").exists()]
    assert len(unfinished) == 1
    newest = max((unfinished[0] / "files" / "steps").glob("step-*/manifest.json")).parent
    assert named <= int(newest.name[5:]) < 160, "training goes on until the driver ends: another may follow"
    saved = json.loads((newest / "state.json").read_text())["curve"]
    done = joined_job("train", *LONGER, root=run_copy)
    assert done.returncode == 0, done.stdout + done.stderr
    curve = json.loads((unfinished[0] / "manifest.json").read_text())["notes"]["curve"]
    assert [point["step"] for point in curve] == list(range(2, 161, 2))
    assert 0 < len(saved) < len(curve)
    assert curve[: len(saved)] == saved  # the speeds too: what was trained was not trained again


def test_sigterm_ends_with_143_also_while_the_driver_waits_inside_of_ray(run_copy):
    shutil.rmtree(run_copy / "autoencoder")
    process = start("pipeline", run_copy, "autoencoder.steps=100000")
    for line in process.stdout:
        if "[autoencoder]" in line and "100,000" in line:
            break
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert errors == "Terminated. Committed work is kept; the same command continues from there.\n"


def test_a_damaged_autoencoder_is_told_as_it_is(run_copy, joined_job):
    """An error inside an actor that opens its model comes back with its own type and code."""
    shutil.rmtree(run_copy / "latents")
    weights = next((run_copy / "autoencoder").glob("*/files/autoencoder/*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    done = joined_job("encode", root=run_copy)
    assert done.returncode == 4, done.stdout + done.stderr
    assert weights.name in done.stderr
    assert "sha256" in done.stderr
    assert "Traceback" not in done.stderr
