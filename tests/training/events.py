"""What stands in TensorBoard's event files, read record by record."""

import struct
from collections import defaultdict
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event

__all__ = ["read_curves"]


def read_curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag -> (step, value), of all files of a folder in the order of writing; no step is dropped as superseded."""
    curves: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (size,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12 : at + 12 + size])
            at += 12 + size + 4
            for value in event.summary.value:
                curves[value.tag].append((event.step, value.simple_value))
    return dict(curves)
