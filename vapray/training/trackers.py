"""Trackers of the learning curve: TensorBoard's event files, and Weights & Biases."""

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vapray.config import Config
from vapray.errors import DataError
from vapray.store import Version

__all__ = ["Point", "TensorBoard", "WeightsAndBiases"]

Point = tuple[int, Mapping[str, float]]
"""Step, and values by name."""
SECONDS_BETWEEN_UPLOADS = 30.0


class TensorBoard:
    """Event file in ``files/tensorboard``, which ``tensorboard --logdir RUN`` finds.

    Every start writes it again, from the beginning of the checkpoint's curve. A local file grows point by point; an
    object store, which cannot append, gets the complete file every half minute and at the end.

    Args:
        output: version that training writes.
        past: learning curve up to the checkpoint from which training continues.
    """

    def __init__(self, output: Version, past: Sequence[Point]) -> None:
        from tensorboardX.event_file_writer import EventsWriter

        self._files, self._folder = output.files, f"{output.folder}/files/tensorboard"
        self._remove_earlier_files()
        self._temporary = None if self._files.is_local else tempfile.TemporaryDirectory(prefix="vapray-events-")
        local = Path(self._temporary.name if self._temporary else self._files.path(self._folder))
        local.mkdir(parents=True, exist_ok=True)
        self._events = EventsWriter(str(local / "events"))
        self._uploaded = time.monotonic()
        self._forget_earlier_files()
        for step, values in past:
            self._write(step, values)
        self._events.flush()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append the values of a step."""
        self._write(step, values)
        self._events.flush()
        if self._temporary and time.monotonic() - self._uploaded >= SECONDS_BETWEEN_UPLOADS:
            self._upload()

    def close(self) -> None:
        """Finish writing."""
        self._events.close()
        if self._temporary:
            self._upload()
            self._temporary.cleanup()

    def _remove_earlier_files(self) -> None:
        """Remove files one by one, since NFS keeps open files, and with them their folder, under a hidden name."""
        for name in self._files.names(self._folder):
            with contextlib.suppress(DataError):
                self._files.remove(f"{self._folder}/{name}")

    def _forget_earlier_files(self) -> None:
        """Write a start event, so that a running TensorBoard drops the points read before a restart."""
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        start = SessionLog(status=SessionLog.START)
        self._events.write_event(Event(wall_time=time.time(), step=0, session_log=start))

    def _write(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import Summary

        shown = [
            Summary.Value(tag=f"train/{name}", simple_value=value) for name, value in values.items() if name != "step"
        ]
        self._events.write_event(Event(wall_time=time.time(), step=step, summary=Summary(value=shown)))

    def _upload(self) -> None:
        assert self._temporary is not None
        self._uploaded = time.monotonic()
        for path in Path(self._temporary.name).glob("events*"):
            self._files.write(f"{self._folder}/{path.name}", path.read_bytes())


class WeightsAndBiases:
    """Run of Weights & Biases; its environment variables (``WANDB_PROJECT``, ``WANDB_MODE``, ...) apply.

    A restart continues the same run, which keeps its points of repeated steps.

    Args:
        config: configuration; sections model, diffusion and train are sent, without paths, captions or machine data.
        output: version that training writes.
    """

    def __init__(self, config: Config, output: Version) -> None:
        try:
            import wandb
        except ImportError:
            raise RuntimeError("wandb is not installed; install vapray[tracking]") from None
        tree = config.model_dump(mode="json", exclude={"train": {"init_from"}})
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "vapray"),
            id=f"{output.fingerprint[:16]}-{hashlib.sha256(output.uri.encode()).hexdigest()[:8]}",
            resume="allow",
            dir=os.environ.get("WANDB_DIR", tempfile.gettempdir()),
            config={name: tree[name] for name in ("model", "diffusion", "train")},
            settings=wandb.Settings(
                console="off",
                silent=True,
                host="",
                disable_git=True,
                disable_code=True,
                x_disable_meta=True,  # script, arguments, working folder and interpreter
                x_disable_machine_info=True,
            ),
        )
        self._run.define_metric("validation_distance", step_metric="validation_step")
        self._newest = 0

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Send values of a step; a run's steps must ascend, so a late validation carries its own step."""
        late: dict[str, Any] = {"validation_step": step} if "validation_distance" in values else {}
        self._newest = max(self._newest, step)
        self._run.log({name: value for name, value in values.items() if name != "step"} | late, step=self._newest)

    def close(self) -> None:
        """End the run."""
        self._run.finish()
