"""What a check found, and how findings are shown."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

__all__ = ["Finding", "exit_code", "failed", "ok", "print_findings", "warning"]

WIDTH, WIDTH_OF_A_NAME = 100, 16
STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}


@dataclass(frozen=True)
class Finding:
    """One check.

    Attributes:
        check: what was looked at.
        state: whether a run can go on with it.
        found: what there is.
        advice: what to do about it; empty where all is well.
        exit_code: of :mod:`vapray.errors`, where it failed.
    """

    check: str
    state: Literal["ok", "warning", "failed"]
    found: str
    advice: str = ""
    exit_code: int = 0


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", found)


def warning(check: str, found: str, advice: str) -> Finding:
    """A run works, but not as it could."""
    return Finding(check, "warning", found, advice)


def failed(check: str, found: str, advice: str, exit_code: int) -> Finding:
    """A run would end with this exit code."""
    return Finding(check, "failed", found, advice, exit_code)


def exit_code(findings: Sequence[Finding]) -> int:
    """That of the first failure; 0 without one."""
    return next((finding.exit_code for finding in findings if finding.state == "failed"), 0)


def print_findings(findings: Iterable[Finding], *, as_json: bool) -> list[Finding]:
    """Print each as soon as it is found; coloured on a terminal only. Returns them all."""
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
    line.add_column(width=WIDTH_OF_A_NAME)
    line.add_column()
    text = finding.found + (f"\n-> {finding.advice}" if finding.advice else "")
    line.add_row(f"[{STYLES[finding.state]}]{finding.state}[/]", finding.check, _plain(text))
    return line


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
