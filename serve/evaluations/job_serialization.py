"""Serialization of evaluation jobs: JSON and a digest."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from serve.backend import EvaluationJob
from vapray.sampling.generated import SamplingSettings

__all__ = ["job_digest", "job_from_dict", "job_to_dict"]


def job_to_dict(job: EvaluationJob) -> dict[str, Any]:
    """Convert a job to JSON values, without its uploaded images."""
    return asdict(replace(job, images=None))


def job_from_dict(record: Mapping[str, Any]) -> EvaluationJob:
    """Restore a job from ``job_to_dict``; JSON has turned its tuples into lists."""
    settings = record["settings"]
    if settings:
        interval = settings["guidance_interval"]
        settings = SamplingSettings(**settings | {"guidance_interval": interval and tuple(interval)})
    return EvaluationJob(**{**record, "images": None, "settings": settings})


def job_digest(job: EvaluationJob) -> str:
    """Compute the sha256 of a job, including its images."""
    images = job.images and job.images.sha256
    return hashlib.sha256(json.dumps([job_to_dict(job), images], sort_keys=True).encode()).hexdigest()
