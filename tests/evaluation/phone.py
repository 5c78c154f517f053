"""How far a page reaches beyond a phone's screen, measured in a real browser."""

from pathlib import Path

from tests.browser import open_page

PHONE = 390
"""CSS pixels."""


def overflow_at_phone_width(page: str, folder: Path) -> int:
    """CSS pixels that ``page`` is wider than the phone; skips where there is no Chromium."""
    file = folder / "phone.html"
    file.write_text(page)
    with open_page(file.as_uri(), width=PHONE, height=800) as shown:
        return int(shown.evaluate("document.documentElement.scrollWidth")) - PHONE
