"""What an engine has done, and has yet to do."""

from dataclasses import dataclass

__all__ = ["COUNTED", "EngineStats"]

COUNTED = ("calls", "rows", "padded_rows", "steps", "finished", "failed", "cancelled")
"""What only grows."""


@dataclass(frozen=True)
class EngineStats:
    """Counts since the start, and the load now."""

    calls: int
    """Of the network."""
    rows: int
    """Rows that an image asked for, over all calls."""
    padded_rows: int
    """Rows computed over all calls, padding included."""
    steps: int
    """Solver steps taken, over all images."""
    finished: int
    """Images."""
    failed: int
    """Images, those past their deadline among them."""
    cancelled: int
    """Images."""
    waiting: int
    """Images not ended yet."""
    pending_rows: int
    """Network rows that they need until the last of them ends: the load that autoscaling looks at."""

    @property
    def occupancy(self) -> float:
        """Share of computed rows that an image asked for."""
        return self.rows / self.padded_rows if self.padded_rows else 1.0
