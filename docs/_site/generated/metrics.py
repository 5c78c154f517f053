"""Metrics of a run, from their specifications."""

from vapray.evaluation.metric_specs import METRIC_SPECS

__all__ = ["markdown"]


def markdown() -> str:
    """List the metrics that report, comparison and experiments know."""
    rows = ["| Key | Name | Better | Meaning |", "|---|---|---|---|"]
    return "\n".join([*rows, *(f"| `{m.key}` | {m.name} | {m.direction} | {m.meaning} |" for m in METRIC_SPECS)])
