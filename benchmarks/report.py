"""What an explained answer costs: ``python benchmarks/report.py`` (the time in a browser needs Chromium).

1. ``explain`` for an answer of 64 words against generating it, in turn, medians with quartiles over rounds: a random
   LLaVA of the shape ``--model``, whose tokens are one word each, asked about one picture of 336 x 336 pixels, which is
   576 tokens.
2. A report of 50 such answers: its size, and the time that Chromium takes from the start of the page to its first map.

Prints both and writes ``benchmarks/results/report.json``.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tokenizers
import torch
from random_models import SHAPES, VOCABULARY, random_llava
from tokenizers import models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import lime_xai
from lime_xai.report.page import Entry, report_page

RESULTS = Path(__file__).parent / "results"
WORDS, ANSWERS = 64, 50
SIDE, PATCH = 336, 14
PLACES = (SIDE // PATCH) ** 2
TIMED = """<script>window.addEventListener("load", () =>
document.body.setAttribute("data-ready", String(Math.round(performance.now()))));</script>"""


def word_tokenizer() -> Any:
    """Return a tokenizer whose tokens are ``w0``, ``w1``, ..."""
    made = tokenizers.Tokenizer(models.WordLevel({f"w{token}": token for token in range(VOCABULARY)}, unk_token="w0"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="w0")


def asked(words: int) -> dict[str, torch.Tensor]:
    """Return the inputs of ``generate``: a smooth random picture, which compresses as photographs do, and some text."""
    torch.manual_seed(1)
    coarse = torch.rand(1, 3, SIDE // 8, SIDE // 8)
    picture = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic")
    ids = torch.cat([torch.full((1, PLACES), VOCABULARY - 1), torch.randint(5, VOCABULARY - 10, (1, words))], 1)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": picture}


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Return seconds and result."""
    start = time.perf_counter()
    found = run()
    return time.perf_counter() - start, found


def browser_time(page: str) -> float | None:
    """Return milliseconds until a page has drawn its first map; None without Chromium."""
    if shutil.which("chromium") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        path.write_text(page.replace("</body>", f"{TIMED}</body>"), encoding="utf-8")
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/user"]
        command = ["chromium", *flags, "--dump-dom", path.as_uri()]
        dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    ready = re.search(r'data-ready="(\d+)"', dom)
    return None if ready is None else float(ready[1])


def main() -> None:
    """Measure; print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=tuple(SHAPES), default="mid")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    shape = SHAPES[arguments.model]
    model, tokenizer = random_llava(shape, picture=SIDE), word_tokenizer()
    inputs = asked(shape.text)
    length = {"max_new_tokens": WORDS, "min_new_tokens": WORDS, "do_sample": False}
    ratios, answer = [], None
    for _ in range(arguments.rounds + 1):  # the first round warms up
        plain, _ = timed(lambda: model.generate(**inputs, **length))
        spent, answer = timed(lambda: lime_xai.explain(model, inputs, processor=tokenizer, **length))
        ratios.append(spent / plain)
    low, middle, high = statistics.quantiles(ratios[1:], n=4)
    if answer is None:
        raise RuntimeError("No round ran.")
    page = report_page([Entry(f"{number}.png", answer) for number in range(ANSWERS)], "50 answers")
    megabytes, opened = len(page.encode()) / 1e6, browser_time(page)
    about = f"{arguments.model}, float32, CPU, {arguments.threads} thread(s), {PLACES} image positions"
    print(f"{about}: explain takes {middle:.2f} [{low:.2f}, {high:.2f}] times the generation of {WORDS} words")
    print(f"a report of {ANSWERS} answers: {megabytes:.1f} MB, first map after {opened} ms")
    found = {"about": about, "words": WORDS, "ratio": [middle, low, high], "megabytes": megabytes, "opened_ms": opened}
    (RESULTS / "report.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
