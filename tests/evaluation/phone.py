"""How far a page reaches beyond a phone's screen, measured in a real browser."""

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest

PHONE = 390
"""CSS pixels."""
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
# A phone lays its scroll bar over the page.
PHONE_LIKE = "--hide-scrollbars"

FRAME = """
<iframe style="width:{width}px;height:800px;border:0" srcdoc="{page}"></iframe>
<p></p>
<script>
onload = () => {{
  const inside = document.querySelector("iframe").contentDocument.documentElement;
  document.querySelector("p").textContent = "width " + inside.scrollWidth;
}};
</script>
"""


def overflow_at_phone_width(page: str, folder: Path) -> int:
    """CSS pixels that ``page`` is wider than the phone; skips where there is no Chromium."""
    browser = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    if browser is None:
        pytest.skip("no Chromium on this machine to lay the page out in")
    frame = folder / "phone.html"
    frame.write_text(FRAME.format(width=PHONE, page=html.escape(page)))
    command = [browser, *QUIET, PHONE_LIKE, f"--user-data-dir={folder / 'browser'}", "--dump-dom", frame.as_uri()]
    laid_out = subprocess.run(command, capture_output=True, text=True, timeout=60)
    found = re.search(r"<p>width (\d+)</p>", laid_out.stdout)
    assert found, laid_out.stdout[-500:] + laid_out.stderr
    return int(found[1]) - PHONE
