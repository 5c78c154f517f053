"""Exit codes of the commands, from the exceptions of vapray."""

from collections import defaultdict

from generated import sentence
from vapray.errors import VaprayError

__all__ = ["markdown"]


def markdown() -> str:
    """List the exit codes, the exceptions that end a command with each, and their meaning."""
    found = defaultdict(list)
    pending = VaprayError.__subclasses__()
    while pending:
        kind = pending.pop(0)
        found[kind.exit_code].append(kind)
        pending += kind.__subclasses__()
    rows = [f"| {code} | {_names(kinds)} | {_meaning(kinds)} |" for code, kinds in sorted(found.items())]
    fixed = ["| 0 | | Success. |", "| 1 | | Bug in vapray, or the reader of the output closed the pipe. |"]
    rows = ["| Code | Exceptions | Meaning |", "|---|---|---|", *fixed, *rows]
    return "\n".join([*rows, "| 130 | | Interrupted by Ctrl-C (SIGINT). |", "| 143 | | Ended by SIGTERM. |"])


def _names(kinds: list[type[VaprayError]]) -> str:
    return ", ".join(f"`{kind.__name__}`" for kind in kinds)


def _meaning(kinds: list[type[VaprayError]]) -> str:
    return sentence(kinds[0].__doc__)
