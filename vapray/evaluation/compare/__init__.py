"""Comparison of two finished runs: settings, metrics, and significance of the differences."""

from vapray.evaluation.compare.comparison import RunComparison, compare_runs

__all__ = ["RunComparison", "compare_runs"]
