"""Pictures of HTML pages for the docs, as headless Chromium shows them."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path


def photograph(page: str, picture: Path, width: int, height: int, *, dark: bool = False) -> None:
    """Write a picture of a page.

    Parameters
    ----------
    page : str
        HTML.
    picture : Path
        PNG file.
    width, height : int
        Of the window in pixels.
    dark : bool
        Whether the page is told that dark colours are preferred.
    """
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "page.html"
        path.write_text(page, encoding="utf-8")
        flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={place}/user",
        ]
        if dark:
            flags += ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"]
        size = [f"--window-size={width},{height}", "--virtual-time-budget=3000", f"--screenshot={picture}"]
        subprocess.run(["chromium", *flags, *size, path.as_uri()], check=True, capture_output=True, timeout=120)


def with_click(page: str, *words: str) -> str:
    """Return a page on which, in each answer in turn, the first word with this text is chosen at the start."""
    clicks = [
        f"[...document.querySelectorAll('.answer')[{number}].querySelectorAll('.said button')]"
        f".find((one) => one.textContent === '{word}').click();"
        for number, word in enumerate(words)
    ]
    script = f"<script>window.addEventListener('load', () => {{{''.join(clicks)}}});</script>"
    return page.replace("</body>", f"{script}</body>")
