"""Make ``docs/_static/explained-*.png``: ``python docs/explained_answer.py`` (needs Chromium)."""

from __future__ import annotations

from pathlib import Path

from photograph import photograph, with_click

import lime_xai
from lime_xai.worlds import example

STATIC = Path(__file__).parent / "_static"


def main() -> None:
    """Explain the example of the docs under a policy, and take a picture of its page."""
    model, processor, inputs = example()
    answer = lime_xai.explain(model, inputs, "contrast", processor=processor, max_new_tokens=30)
    answer.before.plot_words().savefig(STATIC / "explained-words.png", dpi=130)
    page = with_click(answer.to_html(title="Describe the image."), "sun", "cloud")
    photograph(page, STATIC / "explained-answer.png", 1240, 847)


if __name__ == "__main__":
    main()
