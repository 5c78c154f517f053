"""An evaluation's order as JSON, its digest, and its uploaded pictures as one Parquet file."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from serve.backend import EvaluationOrder
from vapray.sampling.generated import SamplingSettings

__all__ = ["order_digest", "order_of", "order_record", "pack_pictures", "unpack_pictures"]


def order_record(order: EvaluationOrder) -> dict[str, Any]:
    """JSON values of an order, without its uploaded pictures."""
    return asdict(replace(order, images=()))


def order_of(record: Mapping[str, Any]) -> EvaluationOrder:
    """What ``order_record`` wrote, also after JSON made lists of the tuples."""
    settings = record["settings"]
    if settings:
        interval = settings["guidance_interval"]
        settings = SamplingSettings(**settings | {"guidance_interval": interval and tuple(interval)})
    return EvaluationOrder(**{**record, "images": (), "settings": settings})


def order_digest(order: EvaluationOrder) -> str:
    """The sha256 of all that is asked for, pictures included."""
    pictures = [hashlib.sha256(image).hexdigest() for image in order.images]
    return hashlib.sha256(json.dumps([order_record(order), pictures], sort_keys=True).encode()).hexdigest()


def pack_pictures(pictures: Sequence[bytes]) -> bytes:
    """Picture files, in order."""
    file = io.BytesIO()
    pq.write_table(pa.table({"picture": pa.array(pictures, pa.binary())}), file, write_page_checksum=True)
    return file.getvalue()


def unpack_pictures(data: bytes) -> list[bytes]:
    """What ``pack_pictures`` wrote.

    Raises:
        OSError: damaged.
    """
    rows = pq.read_table(io.BytesIO(data), page_checksum_verification=True)
    return [bytes(picture) for picture in rows["picture"].to_pylist()]
