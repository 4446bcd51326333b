"""The HTML page in Chromium: what keys choose, where a page opens, and what is drawn beside the maps."""

import html
import json
import re
import shutil
import subprocess
import warnings
from dataclasses import replace

import pytest
from support.families import FAMILIES
from support.words import numbered_tokenizer

from lime_xai.report.explain import explain
from lime_xai.report.opening import DIFFERENT
from lime_xai.report.page import Entry, answer_page, report_page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium, apt-get install chromium"),
]

SCRIPT = """
<script>
window.addEventListener("error", (event) => document.body.setAttribute("data-error", event.message));
window.addEventListener("load", () => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const key = (name, node = document.activeElement) =>
    node.dispatchEvent(new KeyboardEvent("keydown", {key: name, bubbles: true, cancelable: true}));
  const chosen = () => all(".said").map((said) => all("button", said).findIndex((one) => one.ariaPressed === "true"));
  const log = [];
  STEPS
  document.body.setAttribute("data-log", JSON.stringify(log));
});
</script>
"""


def explained(family, policy=None):
    model, inputs, _ = FAMILIES[family].build()
    length = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return explain(model, inputs, policy, processor=numbered_tokenizer(), **length)


@pytest.fixture(scope="module")
def pair():
    """An answer of four words under a policy, and the answer without it; the first and the last word are marked."""
    found = explained("llava", "contrast")
    return replace(marked(found), before=marked(found.before))


def marked(found):
    grounding = (-1.0, 2.0, 2.0, -1.0)
    words = (replace(word, grounding=value, special=False) for word, value in zip(found.words, grounding, strict=True))
    return replace(found, words=tuple(words))


@pytest.fixture
def logged(tmp_path):
    def run(page, steps, *flags):
        path = tmp_path / "page.html"
        path.write_text(page.replace("</body>", SCRIPT.replace("STEPS", steps) + "</body>"), encoding="utf-8")
        command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", *flags]
        command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=3000", "--dump-dom"]
        dom = subprocess.run([*command, path.as_uri()], capture_output=True, text=True, timeout=120, check=True).stdout
        assert not re.search(r"<body[^>]*data-error", dom)
        return json.loads(html.unescape(re.search(r'data-log="(.*?)"', dom)[1]))

    return run


def test_two_answers_have_one_colour_scale(pair, logged):
    bars = logged(answer_page(pair), 'log.push(...all(".bar:not(.text)").map((bar) => bar.textContent));')
    assert len(bars) == 2
    assert bars[0] == bars[1]
    assert "of both answers" in bars[0]
    (alone,) = logged(answer_page(pair.before), 'log.push(...all(".bar:not(.text)").map((bar) => bar.textContent));')
    assert "of this answer" in alone


def test_the_next_marked_word_may_be_in_the_next_answer(pair, logged):
    steps = """
      all(".said button")[0].click();
      for (let press = 0; press < 5; press++) { key("u"); log.push(chosen()); }
    """
    found = logged(answer_page(pair), steps)
    assert [both[0] for both in found] == [3, 3, 3, 0, 3]
    assert [both[1] for both in found[1:]] == [0, 3, 3, 3]


def test_the_key_works_from_a_slider_and_a_checkbox_and_not_from_a_number(pair, logged):
    steps = """
      for (const name of ["threshold", "opacity", "own", "next"]) {
        all(".said button")[0].click();
        document.getElementById(name).focus();
        key("u");
        log.push(chosen()[0]);
      }
    """
    assert logged(answer_page(pair), steps) == [0, 3, 3, 3]


def test_arrow_keys_work_on_a_page_that_was_just_opened(pair, logged):
    steps = """
      all(".said button")[1].click();
      document.activeElement.blur();
      key("ArrowRight", document.body); log.push(chosen()[0]);
      key("ArrowLeft"); log.push(chosen()[0]);
      document.getElementById("opacity").focus();
      key("ArrowRight"); log.push(chosen()[0]);
      all(".said")[1].querySelectorAll("button")[2].click();
      document.activeElement.blur();
      key("ArrowRight", document.body); log.push(chosen());
    """
    assert logged(answer_page(pair), steps) == [2, 1, 1, [1, 3]]


def test_dark_pages_have_dark_tracks(pair, logged):
    steps = 'log.push(getComputedStyle(document.querySelector(".meter")).backgroundColor);'
    dark = logged(answer_page(pair), steps, "--force-dark-mode", "--blink-settings=preferredColorScheme=0")
    light = logged(answer_page(pair), steps)
    brightness = [max(map(int, re.findall(r"\d+", colour[0])[:3])) for colour in (dark, light)]
    assert brightness[0] < 100 < 200 < brightness[1]


def test_a_panel_of_a_batch_is_headed_by_its_file(pair, logged):
    page = report_page([Entry("a.png", pair), Entry("b.png", pair.before)], "Two")
    steps = """
      for (const button of all("#index button")) {
        button.click();
        log.push(all(".answer h2").map((one) => one.textContent));
      }
    """
    assert logged(page, steps) == [
        ["a.png: without a policy", "a.png: under Contrast"],
        ["b.png: the answer"],
    ]


def test_a_page_opens_where_it_says(pair, logged):
    words = [replace(word, text=text) for word, text in zip(pair.words, ["sun", ".", "moon", "."], strict=True)]
    other = [replace(word, text=text) for word, text in zip(pair.words, ["sun", ".", "star", "."], strict=True)]
    page = answer_page(replace(pair, words=tuple(words), before=replace(pair.before, words=tuple(other))))
    sentence = 'document.getElementById("opening").textContent'
    assert logged(page, f"log.push(chosen(), {sentence});") == [[2, 2], DIFFERENT]


def test_a_sound_has_an_axis_of_time(logged):
    found = explained("qwen2_audio")
    ticks = logged(answer_page(found), 'log.push(...all(".axis span").map((one) => one.textContent));')
    assert ticks[0].startswith("0")
    assert len(ticks) > 2
    numbers = [float(tick.split()[0]) for tick in ticks]
    assert numbers == sorted(numbers)
