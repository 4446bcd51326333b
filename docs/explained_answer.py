"""Make ``docs/_static/explained-*.png``: ``python docs/explained_answer.py`` (needs Chromium)."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import lime_xai
from lime_xai.worlds import example

STATIC = Path(__file__).parent / "_static"
WIDTH, HEIGHT = 1240, 860


def main() -> None:
    """Explain the example of the docs under a policy, and take a picture of its page."""
    model, processor, inputs = example()
    answer = lime_xai.explain(model, inputs, "contrast", processor=processor, max_new_tokens=30)
    answer.before.plot_words().savefig(STATIC / "explained-words.png", dpi=130)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "answer.html"
        answer.to_html(page, title="Describe the image.")
        page.write_text(
            page.read_text(encoding="utf-8").replace("</body>", f"{choose('sun', 'cloud')}</body>"), encoding="utf-8"
        )
        flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={folder}/user",
        ]
        size = f"--window-size={WIDTH},{HEIGHT}"
        picture = f"--screenshot={STATIC / 'explained-answer.png'}"
        command = [
            "chromium",
            *flags,
            f"--user-data-dir={folder}/user",
            size,
            "--virtual-time-budget=3000",
            picture,
            page.as_uri(),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=120)


def choose(*words: str) -> str:
    """Return a script that clicks, in each answer in turn, the first word with this text."""
    clicks = [
        f"[...document.querySelectorAll('.answer')[{number}].querySelectorAll('.said button')]"
        f".find((one) => one.textContent === '{word}').click();"
        for number, word in enumerate(words)
    ]
    return f"<script>window.addEventListener('load', () => {{{''.join(clicks)}}});</script>"


if __name__ == "__main__":
    main()
