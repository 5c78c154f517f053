"""A real browser for the pages, where this machine has one."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, expect, sync_playwright

__all__ = ["browser_path", "open_page"]

MILLISECONDS = 180_000
"""For anything to happen; on a busy machine a browser takes its time."""


def browser_path() -> str:
    """Of Chromium; skips the test where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium on this machine; on Debian: apt-get install chromium")
    return found


@contextmanager
def open_page(url: str, *, width: int = 1280, height: int = 900, refusals: tuple[int, ...] = ()) -> Iterator[Page]:
    """A page of its own in a fresh browser; whatever the page itself complains of fails the test.

    ``refusals`` are the HTTP statuses that the test provokes: a browser complains of each.
    """
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_path(), args=["--no-sandbox", "--disable-gpu"], timeout=MILLISECONDS
        )
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(MILLISECONDS)
            expect.set_options(timeout=MILLISECONDS)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
            page.goto(url)
            yield page
        finally:
            browser.close()
    provoked = tuple(f"Failed to load resource: the server responded with a status of {status}" for status in refusals)
    unforeseen = [said for said in complaints if not said.startswith(provoked)]
    assert not unforeseen, unforeseen
