"""State of an evaluation, from its records."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from serve.backend import Evaluation
from serve.evaluations.job_serialization import job_from_dict

__all__ = ["describe_evaluation"]


def describe_evaluation(
    id: str, order: Mapping[str, Any], outcome: Mapping[str, Any] | None, progress: Mapping[str, Any]
) -> Evaluation:
    """Describe an evaluation as the API returns it.

    Args:
        id: Evaluation.
        order: Job and owner.
        outcome: Results or error; None: not finished.
        progress: Runner and images done; empty: not started.
    """
    job = order["order"]
    n = order["uploaded"] or job["n"]
    source: Literal["uploaded", "generated"] = "uploaded" if order["uploaded"] else "generated"
    generated = job_from_dict(job).generated
    queued = Evaluation(id, job["model"], "queued", order["created"], n, source=source, generated=generated)
    if outcome is None:
        return replace(queued, status="running", done=progress["done"]) if "runner" in progress else queued
    if outcome["error"] is not None:
        return replace(queued, status="failed", error=outcome["error"], done=progress.get("done", 0))
    return replace(queued, status="succeeded", done=n, results=outcome["results"])
