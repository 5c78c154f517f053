"""Numbers as text, in one form all over the page."""

import math
from typing import TypeGuard

from vapray.evaluation.intervals import Interval

ABSENT = "\N{EN DASH}"
UNBROKEN = "\N{NO-BREAK SPACE}"

Number = float | int | None


def known(value: Number) -> TypeGuard[float]:
    """Whether there is a number to show."""
    return value is not None and math.isfinite(value)


def number(value: Number) -> str:
    """Three significant digits, thousands set apart; a dash for what was not measured."""
    if value is None or not math.isfinite(value):
        return ABSENT
    if abs(value) >= 1000 or (isinstance(value, int) and not isinstance(value, bool)):
        return f"{value:,.0f}"
    if value == 0 or abs(value) >= 1e-4:
        decimals = 2 - math.floor(math.log10(abs(value))) if value else 0
        return f"{value:.{max(0, min(decimals, 6))}f}"
    return f"{value:.1e}"


def percent(value: Number) -> str:
    """A share of one as whole percent."""
    return f"{100 * value:.0f}{UNBROKEN}%" if value is not None and math.isfinite(value) else ABSENT


def duration(seconds: float) -> str:
    """Seconds below a minute, otherwise minutes and seconds, otherwise hours and minutes."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def interval_text(interval: Interval | None, form: str = "number") -> str:
    """``1.2 to 3.4``, or nothing."""
    if interval is None:
        return ""
    word = percent if form == "percent" else number
    low, high = word(interval.low), word(interval.high)
    return f"{low.removesuffix(f'{UNBROKEN}%')} to {high}"


def times(factor: float) -> str:
    """``43 times``; ``1.3 times`` near one."""
    return f"{factor:,.0f}{UNBROKEN}times" if factor >= 10 else f"{factor:.1f}{UNBROKEN}times"
