"""Findings of checks, and their output as text or JSON."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

__all__ = ["Finding", "exit_code", "failed", "ok", "print_findings", "warning"]

WIDTH, NAME_WIDTH = 100, 16
STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Attributes:
        check: name of the check.
        state: ``failed`` if a run would end with an error.
        found: observed state.
        advice: steps that fix the problem; empty if there is none.
        exit_code: exit code of the run (:mod:`vapray.errors`); 0 unless the check failed.
    """

    check: str
    state: Literal["ok", "warning", "failed"]
    found: str
    advice: str = ""
    exit_code: int = 0


def ok(check: str, found: str) -> Finding:
    """Build a finding without a problem."""
    return Finding(check, "ok", found)


def warning(check: str, found: str, advice: str) -> Finding:
    """Build a finding that does not stop a run."""
    return Finding(check, "warning", found, advice)


def failed(check: str, found: str, advice: str, exit_code: int) -> Finding:
    """Build a finding that ends a run with this exit code."""
    return Finding(check, "failed", found, advice, exit_code)


def exit_code(findings: Sequence[Finding]) -> int:
    """Return the exit code of the first failed finding; 0 without one."""
    return next((finding.exit_code for finding in findings if finding.state == "failed"), 0)


def print_findings(findings: Iterable[Finding], *, as_json: bool) -> list[Finding]:
    """Print each finding at once, coloured on a terminal only, and return all of them."""
    console = Console(width=WIDTH, highlight=False)
    shown = []
    for finding in findings:
        shown.append(finding)
        if as_json:
            print(json.dumps(asdict(finding)), flush=True)
        else:
            console.print(Padding(_line(finding), 0))
    if not as_json:
        counts = {state: sum(finding.state == state for finding in shown) for state in STYLES}
        console.print(f"\n{counts['ok']} ok, {counts['warning']} warnings, {counts['failed']} failed")
    return shown


def _line(finding: Finding) -> Table:
    line = Table.grid(padding=(0, 2))
    line.add_column(width=7)
    line.add_column(width=NAME_WIDTH)
    line.add_column()
    text = finding.found + (f"\nFix: {finding.advice}" if finding.advice else "")
    line.add_row(f"[{STYLES[finding.state]}]{finding.state}[/]", finding.check, escape(text))
    return line
