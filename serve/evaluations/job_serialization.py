"""Serialization of evaluation jobs: JSON, a digest, and uploaded images as one Parquet file."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from serve.backend import EvaluationJob
from vapray.sampling.generated import SamplingSettings
from vapray.store.parquet import read_table

__all__ = ["job_digest", "job_from_dict", "job_to_dict", "pack_images", "unpack_images"]


def job_to_dict(job: EvaluationJob) -> dict[str, Any]:
    """Convert a job to JSON values, without its uploaded images."""
    return asdict(replace(job, images=()))


def job_from_dict(record: Mapping[str, Any]) -> EvaluationJob:
    """Restore a job from ``job_to_dict``; JSON has turned its tuples into lists."""
    settings = record["settings"]
    if settings:
        interval = settings["guidance_interval"]
        settings = SamplingSettings(**settings | {"guidance_interval": interval and tuple(interval)})
    return EvaluationJob(**{**record, "images": (), "settings": settings})


def job_digest(job: EvaluationJob) -> str:
    """Compute the sha256 of a job, including its images."""
    images = [hashlib.sha256(image).hexdigest() for image in job.images]
    return hashlib.sha256(json.dumps([job_to_dict(job), images], sort_keys=True).encode()).hexdigest()


def pack_images(images: Sequence[bytes]) -> bytes:
    """Pack image files, in order."""
    file = io.BytesIO()
    pq.write_table(pa.table({"picture": pa.array(images, pa.binary())}), file, write_page_checksum=True)
    return file.getvalue()


def unpack_images(data: bytes) -> list[bytes]:
    """Unpack image files.

    Raises:
        OSError: The data are damaged.
    """
    rows = read_table(io.BytesIO(data))
    return [bytes(image) for image in rows["picture"].to_pylist()]
