"""Metrics of a run, shared with the tests of the evaluation."""

from tests.evaluation.conftest import metrics

__all__ = ["metrics"]
