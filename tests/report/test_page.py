"""The HTML page: complete in itself, everything of the model escaped, numbers as in the answer."""

import base64
import html
import json
import re
import shutil
import subprocess
import warnings
from dataclasses import replace

import numpy as np
import pytest
from support.families import FAMILIES
from support.words import numbered_tokenizer

from lime_xai.attribution.page.items import data_uri, runs
from lime_xai.report.answer import ContextWord
from lime_xai.report.explain import explain
from lime_xai.report.page import Entry, answer_page, report_page
from lime_xai.report.payload import payload

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[/x] [bold]",
    "$$x^2$$",
    "<!--",
    "שלום",
    "👩‍🚀",
    "猫",
    "\"&'",
    "\u2028",
)


@pytest.fixture(scope="module", params=["llava", "llava_next", "qwen2_audio", "qwen2_5_vl", "internvl"])
def found(request):
    model, inputs, _ = FAMILIES[request.param].build()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return explain(
            model,
            inputs,
            "contrast",
            processor=numbered_tokenizer(),
            max_new_tokens=4,
            min_new_tokens=4,
            do_sample=False,
        )


def renamed(found, texts):
    """The same answer with other words."""
    words = tuple(replace(word, text=text) for word, text in zip(found.words, texts, strict=False))
    context = (ContextWord(texts[0], " ", 0, 1), *found.context[1:])
    return replace(found, words=words, context=context, before=None)


def held(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def test_the_page_needs_no_network(found):
    page = answer_page(found)
    code = re.sub(r'"(?:data:image/\w+;base64,)?[\w+/=]{40,}"', '""', page)
    links = re.findall(r"(?:https?:)?//[\w.]+", code)
    assert set(links) <= {"http://www.w3.org"}  # the name of SVG's namespace
    assert not re.search(r"<(?:link|iframe|object)|src=[\"']?(?!data:)http|@import|url\(", page)


def test_relevance_on_the_page_is_that_of_the_answer(found):
    data = payload(found, "x")
    raw = np.split(np.frombuffer(base64.b64decode(data["relevance"]), "<i2"), np.cumsum(data["lengths"])[:-1])
    for index, row in enumerate(raw):
        wanted = found.relevance(index).numpy()
        held = np.pad(row * data["scales"][index], (0, data["length"] - len(row)))
        assert np.allclose(held, wanted, atol=abs(wanted).max() / 32767)


def test_every_position_of_an_image_or_sound_is_in_one_cell_of_each_kind_of_map(found):
    data = payload(found, "x")
    for layout, item in zip(found.attribution.layouts[0], data["items"], strict=True):
        drawn = [
            position
            for view in item["views"]
            for part in (*view["tiles"], *view.get("stretches", ()))
            for start, count in part["positions"]
            for position in range(start, start + count)
        ]
        placed = set(layout.positions) - set(layout.unplaced) if layout.tiles else set(layout.positions)
        assert sorted(drawn) == sorted(placed)


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_the_model_stays_text(found, text):
    page = answer_page(renamed(found, [text] * len(found.words)), title=text)
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    assert "onerror=alert(1)>" not in page
    assert "<!--" not in page
    answer = held(page)["entries"][0]["answers"][-1]
    assert [word["text"] for word in answer["words"]] == [text] * len(found.words)
    assert answer["context"][0]["text"] == text


def test_a_report_begins_with_the_worst_grounded_answer(found):
    def with_grounding(value):
        return replace(found, words=tuple(replace(word, grounding=value, special=False) for word in found.words))

    entries = [Entry("a", with_grounding(2.0)), Entry("b", with_grounding(-1.0)), Entry("c", with_grounding(None))]
    data = held(report_page(entries, "Report"))
    assert [entry["name"] for entry in data["entries"]] == ["b", "a", "c"]
    assert data["entries"][0]["worst"].endswith("-1.00")
    assert data["entries"][2]["worst"] == "grounding not known"
    with pytest.raises(ValueError, match="at least one answer"):
        report_page([], "Report")


def test_marks_of_punctuation_are_not_ranked(found):
    texts = [",", "sun", ".", *(word.text for word in found.words[3:])]
    grounding = [-2.0, -1.0, -3.0, *(5.0 for _ in found.words[3:])]
    words = [
        replace(word, text=text, grounding=value, special=False)
        for word, text, value in zip(found.words, texts, grounding, strict=True)
    ]
    named = replace(found, words=tuple(words))
    assert named.first_word == 1
    data = held(report_page([Entry("a", named)], "?"))
    assert data["entries"][0]["worst"] == "sun -1.00"
    silent = replace(found, words=tuple(replace(word, text="…") for word in words))
    assert silent.first_word == 2
    unknown = replace(found, words=tuple(replace(word, grounding=None) for word in words))
    assert unknown.first_word == 0
    assert unknown.ranked == ()


def test_a_notebook_shows_the_page_in_a_frame_of_its_own(found):
    shown = found._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert shown.count("<") == 2
    assert len(repr(found)) < 400


def test_runs_of_positions():
    assert runs([3, 4, 5, 9, 11, 12]) == [[3, 3], [9, 1], [11, 2]]
    assert runs([]) == []


def test_large_pictures_are_made_smaller():
    picture = np.random.default_rng(0).integers(0, 255, (1500, 3000, 3), dtype=np.uint8)
    assert data_uri(picture).startswith("data:image/jpeg")
    assert len(data_uri(picture)) < 1_000_000
    assert data_uri(picture[:50, :50]).startswith("data:image/png")


CLICKS = """
<script>
window.addEventListener("load", () => {
  const section = document.querySelectorAll(".answer")[0];
  const buttons = section.querySelectorAll(".said button");
  const canvas = section.querySelector("canvas");
  const pixels = () => canvas.toDataURL();
  const pressed = () => [...buttons].findIndex((one) => one.getAttribute("aria-pressed") === "true");
  const facts = () => section.querySelector(".facts").textContent;
  const log = [];
  const note = () => log.push([pressed(), pixels(), facts()]);
  buttons[0].click(); note();
  buttons[2].click(); note();
  buttons[2].dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight", bubbles: true})); note();
  document.dispatchEvent(new KeyboardEvent("keydown", {key: "u", bubbles: true}));
  document.getElementById("own").click(); note();
  document.body.setAttribute("data-log", JSON.stringify(log));
});
window.addEventListener("error", (event) => document.body.setAttribute("data-error", event.message));
</script>
"""


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium, apt-get install chromium")
def test_a_click_and_a_key_change_the_map(found, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(answer_page(found).replace("</body>", CLICKS + "</body>"), encoding="utf-8")
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command = ["chromium", *flags, "--virtual-time-budget=3000", "--dump-dom", path.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert not re.search(r"<body[^>]*data-error", dom)
    log = json.loads(html.unescape(re.search(r'data-log="(.*?)"', dom)[1]))
    assert [entry[0] for entry in log[:3]] == [0, 2, 3]
    maps = [entry[1] for entry in log]
    assert len(set(maps[:3])) == 3
    assert log[0][2] != log[1][2]
    assert maps[3] != maps[2]
