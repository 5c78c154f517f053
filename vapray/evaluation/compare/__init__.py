"""Two finished runs side by side: what decided them, what came out, and whether the difference can be told."""

from vapray.evaluation.compare.comparison import RunComparison, compare_runs

__all__ = ["RunComparison", "compare_runs"]
