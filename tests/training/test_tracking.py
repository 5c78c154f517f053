"""The learning curve reaches its tracker; a tracker that is broken, stuck or missing changes nothing in training."""

import errno
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.training.events import read_curves
from tests.training.tiny import run, tiny_config, tiny_state
from vapray.store.run_store import Store
from vapray.training.trackers import TensorBoard
from vapray.training.tracking import Tracking, tracked


def version(root: Path, name: str = "0123456789abcdef"):
    return Store(str(root)).version("checkpoints", name)


def train(config, state, output, said, *, crash_at=None, save=lambda step, files: None):
    with tracked(config, output, state, said.append) as track:

        def report(step, point):
            track(step, point)
            if step == crash_at:
                raise KeyboardInterrupt

        return run(config, state, report=report, log_metrics=track, save=save)


def tensorboard_folder(output) -> Path:
    return Path(output.uri) / "files" / "tensorboard"


def test_every_point_of_the_curve_stands_in_the_event_file(tmp_path):
    config, output, said = tiny_config("train.tracker=tensorboard"), version(tmp_path), []
    state = train(config, tiny_state(config), output, said)
    curves = read_curves(tensorboard_folder(output))
    assert [step for step, _ in curves["train/loss"]] == [1, 2, 3, 4, 5, 6]
    assert [value for _, value in curves["train/loss"]] == pytest.approx([point["loss"] for point in state.curve])
    assert set(curves) == {f"train/{name}" for point in state.curve for name in point if name != "step"}
    assert said == []


def test_validations_stand_at_their_own_step(tmp_path):
    config, output = tiny_config("train.validate_every=3", "train.tracker=tensorboard"), version(tmp_path)
    with tracked(config, output, state := tiny_state(config), pytest.fail) as track:
        run(config, state, report=track, log_metrics=track, validate=lambda network: time.sleep(0.3) or 5.0)
    assert read_curves(tensorboard_folder(output))["train/validation_distance"] == [(3, 5.0), (6, 5.0)]


def test_steps_that_are_taken_again_after_a_crash_stand_there_once(tmp_path):
    config, output, saved = tiny_config("train.tracker=tensorboard"), version(tmp_path), {}
    with pytest.raises(KeyboardInterrupt):
        train(config, tiny_state(config), output, [], crash_at=5, save=saved.__setitem__)
    assert [step for step, _ in read_curves(tensorboard_folder(output))["train/loss"]] == [1, 2, 3, 4, 5]
    resumed = tiny_state(config)
    resumed.restore(saved[4])
    said = []
    train(config, resumed, output, said)
    assert [step for step, _ in read_curves(tensorboard_folder(output))["train/loss"]] == [1, 2, 3, 4, 5, 6]
    assert said == []


def test_what_nfs_keeps_for_a_tensorboard_that_reads_is_no_hindrance(tmp_path, monkeypatch):
    """There a removed file that somebody has open gets a hidden name, which cannot be removed."""
    output = version(tmp_path)
    TensorBoard(output, [(1, {"loss": 3.0}), (2, {"loss": 2.0})]).close()
    (earlier,) = tensorboard_folder(output).iterdir()
    kept, unlink = tensorboard_folder(output) / ".nfs000000000001", os.unlink

    def unlink_as_nfs(path, *, dir_fd=None):
        if os.path.basename(path) == earlier.name:
            os.rename(earlier, kept)
        elif os.path.basename(path) == kept.name:
            raise OSError(errno.EBUSY, "Device or resource busy")
        else:
            unlink(path, dir_fd=dir_fd)

    for name in ("unlink", "remove"):
        monkeypatch.setattr(os, name, unlink_as_nfs)
    for loss in (1.0, 0.5):
        TensorBoard(output, [(1, {"loss": loss})]).close()
        assert kept.exists()
        assert read_curves(tensorboard_folder(output))["train/loss"] == [(1, loss)]


def test_on_an_object_store_the_whole_file_is_there_at_the_end():
    output = Store("memory://tracking-test").version("checkpoints", "0123456789abcdef")
    tracker = TensorBoard(output, [(1, {"loss": 2.0})])
    tracker.log(2, {"loss": 1.0})
    tracker.close()
    (name,) = output.files.names(f"{output.folder}/files/tensorboard")
    assert len(output.files.read(f"{output.folder}/files/tensorboard/{name}")) > 100


class Broken:
    """Counts what it is asked for, and fails at all of it."""

    def __init__(self, error: Exception) -> None:
        self.error, self.asked = error, 0

    def log(self, step, values):
        self.asked += 1
        raise self.error

    def close(self):
        self.asked += 1
        raise self.error


def test_a_tracker_that_fails_is_mentioned_once_and_asked_again():
    broken, said = Broken(OSError(errno.ENOSPC, "No space left on device")), []
    tracking = Tracking("tensorboard", lambda: broken, said.append)
    for step in range(5):
        tracking.log(step, {"loss": 1.0})
    tracking.close()
    assert broken.asked == 6
    assert len(said) == 1
    assert "No space left" in said[0] and "Training continues" in said[0]


def test_a_tracker_that_cannot_be_opened_is_mentioned_once():
    said, opened = [], []

    def open_it():
        opened.append(1)
        raise RuntimeError("wandb is not installed; install vapray[tracking]")

    tracking = Tracking("wandb", open_it, said.append)
    for step in range(5):
        tracking.log(step, {"loss": 1.0})
    tracking.close()
    assert opened == [1]
    assert said == [
        "train.tracker=wandb: wandb is not installed; install vapray[tracking]. Training continues; the curve "
        "is also in the report."
    ]


def test_a_tracker_that_hangs_holds_nothing_up():
    released, entered, said = threading.Event(), threading.Event(), []

    class Stuck:
        def log(self, step, values):
            entered.set()
            released.wait()

        def close(self): ...

    tracking = Tracking("wandb", Stuck, said.append, waiting=3)
    tracking.log(0, {})
    assert entered.wait(10)
    for step in range(1, 100):
        tracking.log(step, {})
    tracking.close(seconds=0.1)
    assert not released.is_set()
    released.set()
    assert said == [
        "train.tracker=wandb: is too slow; points are dropped. Training continues; the curve is also in the report."
    ]


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from tests.training.test_tracking import tensorboard_folder, train, version
from tests.training.tiny import tiny_config, tiny_state
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))
config, output, said = tiny_config("train.tracker=tensorboard"), version(Path(sys.argv[1])), []
state = train(config, tiny_state(config), output, said)
print(state.step, len(state.curve), len(said), said[0])
"""


def test_a_full_disk_under_the_event_file_does_not_stop_training(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"6 6 1 train.tracker=tensorboard: [Errno {errno.EFBIG}]")
    (written,) = tensorboard_folder(version(tmp_path)).iterdir()
    assert 0 < written.stat().st_size <= 700


def test_weights_and_biases_gets_the_curve_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is in the extra vapray[tracking]")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setattr(socket, "gethostname", lambda: "ward-seven")
    monkeypatch.setattr(Tracking.close, "__defaults__", (180.0,))  # a busy machine may need more than training waits
    start = tmp_path / "patients" / "start.safetensors"
    config = tiny_config("train.tracker=wandb", f"train.init_from={start}")
    output, said = version(tmp_path / "run"), []
    train(config, tiny_state(config), output, said)
    assert said == []
    (written,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    deadline = time.monotonic() + 180  # W&B's own process writes the file, and may still do so after the run has ended
    while b"learning_rate" not in (sent := written.read_bytes()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert b"gradient_norm" in sent and b"learning_rate" in sent
    places = [tmp_path, start.name, sys.executable, os.getcwd(), Path.home(), sys.argv[0], "ward-seven"]
    assert [place for place in places if len(str(place)) > 3 and os.fsencode(place) in sent] == []


WITHOUT_NETWORK = """
import os, sys
from pathlib import Path
from tests.training.test_tracking import version
from tests.training.tiny import run, tiny_config, tiny_state
from vapray.training.tracking import Tracking, open_tracker
config, output, said = tiny_config("train.tracker=wandb"), version(Path(sys.argv[1])), []
tracking = Tracking("wandb", lambda: open_tracker(config, output, []), said.append)
state = run(config, tiny_state(config), report=tracking.log)
tracking.close(seconds=float(sys.argv[2]))
print("found:", state.step, len(said), *said, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize(
    ("environment", "seconds", "wanted"),
    [
        ({"WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}, 2, "did not finish within 2 s"),
        ({}, 60, "No API key configured"),
    ],
)
def test_weights_and_biases_out_of_reach_does_not_stop_training(tmp_path, environment, seconds, wanted):
    pytest.importorskip("wandb", reason="wandb is in the extra vapray[tracking]")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    kept |= {"HOME": str(tmp_path), "WANDB_DIR": str(tmp_path), "WANDB_MODE": "online"}
    command = [sys.executable, "-c", WITHOUT_NETWORK, str(tmp_path / "run"), str(seconds)]
    done = subprocess.run(
        command, env=kept | environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200
    )
    assert "found: 6 1 train.tracker=wandb: " + wanted in done.stdout, done.stdout + done.stderr
