"""Format of numbers on the pages."""

import math
from collections.abc import Callable
from typing import TypeGuard

from vapray.metrics.intervals import Interval

ABSENT = "\N{EN DASH}"
UNBROKEN = "\N{NO-BREAK SPACE}"

Number = float | int | None


def is_measured(value: Number) -> TypeGuard[float]:
    """Check that a number was measured."""
    return value is not None and math.isfinite(value)


def number(value: Number) -> str:
    """Format with three significant digits and thousands separators; a dash if it was not measured."""
    if value is None or not math.isfinite(value):
        return ABSENT
    if abs(value) >= 1000 or (isinstance(value, int) and not isinstance(value, bool)):
        return f"{value:,.0f}"
    if value == 0 or abs(value) >= 1e-4:
        decimals = 2 - math.floor(math.log10(abs(value))) if value else 0
        return f"{value:.{max(0, min(decimals, 6))}f}"
    return f"{value:.1e}"


def percent(value: Number) -> str:
    """Format a share of one as integer percent."""
    return f"{100 * value:.0f}{UNBROKEN}%" if value is not None and math.isfinite(value) else ABSENT


def duration(seconds: float) -> str:
    """Format as seconds below a minute, as minutes and seconds below an hour, else as hours and minutes."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def interval_text(interval: Interval | None, form: Callable[[Number], str] = number) -> str:
    """Format an interval as ``1.2 to 3.4``, each end by ``form``; empty for None."""
    if interval is None:
        return ""
    low, high = form(interval.low), form(interval.high)
    return f"{low.removesuffix(f'{UNBROKEN}%')} to {high}"


def percent_interval(interval: Interval | None) -> str:
    """Format an interval of shares as ``12 to 34 %``; a dash for None."""
    return interval_text(interval, percent) or ABSENT


def format_factor(factor: float) -> str:
    """Format a factor: ``43 times``, or ``1.3 times`` below ten."""
    return f"{factor:,.0f}{UNBROKEN}times" if factor >= 10 else f"{factor:.1f}{UNBROKEN}times"
