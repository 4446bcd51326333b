"""The HTML page of an attribution: complete in itself, numbers as in the attribution, nothing that is not known."""

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
import torch
from support.families import FAMILIES, batch
from support.words import numbered_tokenizer

import lime_xai
from lime_xai import Attribution

TOKENIZER = numbered_tokenizer()
ANSWERS = torch.tensor([[5, 6, -100], [7, 8, 9]])
TARGETS = {"token": 7, "margin": (7, 9), "answer": ANSWERS}
CHOSEN = {"grounding", "probability", "entropy", "margin", "alternative", "alternative_probability", "losses", "steps"}


def attributed(family="llava", target=ANSWERS, processor=TOKENIZER, method="attnlrp"):
    model, inputs, _ = batch(family, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lime_xai.attribute(model, inputs, target, method, processor=processor)


def text_only():
    model, _, _ = FAMILIES["llava"].build()
    text = {"input_ids": torch.tensor([[1, 5, 6, 7]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    return lime_xai.attribute(model, text, 9, processor=TOKENIZER)


def sections(page):
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])
    (entry,) = data["entries"]
    return entry["answers"]


def decoded(section):
    raw = np.frombuffer(base64.b64decode(section["relevance"]), "<i2")
    rows = np.split(raw, np.cumsum(section["lengths"])[:-1])
    pairs = zip(rows, section["scales"], strict=True)
    return np.stack([np.pad(row * scale, (0, section["length"] - len(row))) for row, scale in pairs])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("family", ["llava", "llava_next", "qwen2_audio"])
def test_each_row_has_a_section_with_its_numbers(family, target):
    found = attributed(family, TARGETS[target])
    held = sections(found.to_html())
    assert len(held) == 2
    for row, section in enumerate(held):
        kept = [place for place in range(found.target_ids.shape[1]) if found.target_ids[row, place] != -100]
        wanted = found.relevance[row].reshape(-1, found.relevance.shape[-1])[kept].numpy()
        assert np.allclose(decoded(section), wanted, atol=abs(wanted).max() / 32767)
        assert len(section["words"]) == len(kept)
        for place, word in zip(kept, section["words"], strict=True):
            logit = float(found.logits[row].reshape(-1)[place])
            residual = float(found.residual[row].reshape(-1)[place])
            assert word["logit"] == pytest.approx(logit, rel=1e-3)
            assert word["residual"] == pytest.approx(residual, rel=1e-2, abs=1e-3)
            assert sum(word["shares"].values()) == pytest.approx(1, abs=1e-3)
            assert sum(word["relevance"].values()) == pytest.approx(logit + residual, rel=1e-2, abs=1e-3)
            assert not CHOSEN & set(word)  # not known of an attribution, and not on its page
        shown = [part["start"] for part in section["context"] if "start" in part]
        text = found.mask("text")[row] & found.attended[row]
        last = text.shape[0] - (found.relevance.shape[1] if found.relevance.dim() == 3 else 1) + 1
        text[last + kept[-1] :] = False  # stands for nothing: the answer has ended
        assert shown == text.nonzero()[:, 0].tolist()
        places = [index for index, part in enumerate(section["context"]) if "item" in part]
        assert len(places) == len(section["items"]) == 1


def test_tokens_of_an_answer_are_named():
    found = attributed()
    assert [[word["text"] for word in row["words"]] for row in sections(found.to_html())] == [
        ["w5", "w6"],
        ["w7", "w8", "w9"],
    ]
    plain = attributed(processor=None)
    assert plain.target_tokens is None
    assert [word["text"] for word in sections(plain.to_html())[1]["words"]] == ["token 7", "token 8", "token 9"]


def test_target_tokens_are_saved_and_must_fit(tmp_path):
    found = attributed()
    found.save(tmp_path / "a.safetensors")
    assert Attribution.load(tmp_path / "a.safetensors") == found
    assert found.target_tokens[0][2] == ""
    with pytest.raises(ValueError, match="target_tokens has rows of"):
        replace(found, target_tokens=[["a"], ["b"]])


def test_the_delta_of_integrated_gradients_is_shown():
    found = attributed(method="integrated_gradients")
    words = [word for row in sections(found.to_html()) for word in row["words"]]
    wanted = found.convergence_delta[ANSWERS != -100].tolist()
    assert [word["convergence_delta"] for word in words] == pytest.approx(wanted, rel=1e-3)
    assert all("convergence_delta" not in word for row in sections(attributed().to_html()) for word in row["words"])


def test_a_text_has_no_panel_of_maps():
    page = text_only().to_html()
    (section,) = sections(page)
    assert section["items"] == []
    for control in ("own", "grey", "opacity", "threshold", "next"):
        assert f'id="{control}"' not in page
    assert 'id="own"' in attributed().to_html()


def test_the_page_needs_no_network_and_escapes_text(tmp_path):
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    found = attributed()
    labels = [[hostile] * found.relevance.shape[-1]] * 2
    found = replace(found, targets=[hostile] * 2, tokens=labels, target_tokens=[[hostile] * 3] * 2)
    page = found.to_html(tmp_path / "page.html", title=hostile)
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page
    assert page.count("<script") == page.count("</script>") == 2
    assert "<img src=x" not in page
    assert sections(page)[0]["context"][0]["text"] == hostile
    links = re.findall(r"(?:https?:)?//[\w.]+", re.sub(r'"(?:data:image/\w+;base64,)?[\w+/=]{40,}"', '""', page))
    assert set(links) <= {"http://www.w3.org"}
    shown = found._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert shown.count("<") == 2
    with pytest.raises(ValueError, match="nowhere"):
        found.to_html(tmp_path / "nowhere" / "page.html")


CLICKS = """
<script>
window.addEventListener("error", (event) => document.body.setAttribute("data-error", event.message));
window.addEventListener("load", () => {
  const section = document.querySelectorAll(".answer")[document.querySelectorAll(".answer").length - 1];
  const buttons = section.querySelectorAll(".said button");
  const facts = () => section.querySelector(".facts").textContent;
  const log = [];
  for (const button of buttons) { button.click(); log.push(facts()); }
  document.dispatchEvent(new KeyboardEvent("keydown", {key: "u", bubbles: true}));
  const count = (kind) => section.querySelectorAll(kind).length;
  document.body.setAttribute("data-log", JSON.stringify([log, count("canvas"), count(".seen")]));
});
</script>
"""


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium, apt-get install chromium")
@pytest.mark.parametrize(("made", "tokens", "maps"), [(attributed, 3, 1), (text_only, 1, 0)])
def test_clicks_work_without_what_is_not_known(made, tokens, maps, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(made().to_html().replace("<script type", CLICKS + "<script type", 1), encoding="utf-8")
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command = ["chromium", *flags, "--virtual-time-budget=3000", "--dump-dom", path.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert not re.search(r"<body[^>]*data-error", dom)
    facts, canvases, panels = json.loads(html.unescape(re.search(r'data-log="(.*?)"', dom)[1]))
    assert len(set(facts)) == tokens
    assert (canvases, panels) == (maps, maps)
    for text in facts:
        assert "logit, residual" in text
        for unknown in ("grounding", "probability", "entropy", "not known", "undefined", "NaN"):
            assert unknown not in text
