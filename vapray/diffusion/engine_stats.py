"""Statistics of an engine: counts and current load."""

from dataclasses import dataclass

__all__ = ["COUNTED", "EngineStats"]

COUNTED = ("calls", "rows", "padded_rows", "steps", "finished", "failed", "cancelled")
"""Fields that are monotonic counters."""


@dataclass(frozen=True)
class EngineStats:
    """Counts since the start, and the current load."""

    calls: int
    """Number of network calls."""
    rows: int
    """Number of requested rows, over all calls."""
    padded_rows: int
    """Number of computed rows over all calls, padding included."""
    steps: int
    """Number of solver steps, over all images."""
    finished: int
    """Number of finished images."""
    failed: int
    """Number of failed images, including those past their deadline."""
    cancelled: int
    """Number of cancelled images."""
    waiting: int
    """Number of images in progress or waiting."""
    pending_rows: int
    """Number of network rows that these images still need; the load for autoscaling."""

    @property
    def occupancy(self) -> float:
        """Share of computed rows that an image requested, 0..1."""
        return self.rows / self.padded_rows if self.padded_rows else 1.0
