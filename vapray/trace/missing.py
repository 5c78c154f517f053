"""Parts of a trace that a run lacks."""

from dataclasses import dataclass

__all__ = ["Missing", "run_stage"]


@dataclass(frozen=True)
class Missing:
    """Part that is left out."""

    why: str
    """Sentence with the cause and, where one exists, the command that makes the part."""


def run_stage(root: str, stage: str) -> str:
    """Name the command that makes a part."""
    return f"`vapray run {stage} run.root={root}` with the settings of this run"
