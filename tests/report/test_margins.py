"""A margin is named as one wherever it is shown or written: figures, pages, tables and files."""

import json
import re
import warnings
from dataclasses import replace

import pandas
import pytest
import torch
from support.families import FAMILIES, batch
from support.words import numbered_tokenizer

import lime_xai
from lime_xai.attribution.sheet import signed
from lime_xai.report.answer import ExplainedAnswer
from lime_xai.report.explain import explain
from lime_xai.report.files import KEY
from lime_xai.storage.store import read_tensors, write_tensors

TOKENIZER = numbered_tokenizer()
NAME = "w7 against w9"


@pytest.fixture(scope="module")
def pair():
    """The margin of w7 over w9, and the explanation of w7 alone."""
    model, inputs, _ = FAMILIES["llava"].build()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [explain(model, inputs, processor=TOKENIZER, answer="w7", against=other) for other in ("w9", None)]


def told(figure):
    labels = [label.get_text() for axes in figure.axes for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    return "\n".join([text.get_text() for text in figure.texts] + labels)


def test_figures_name_both_words_of_a_margin(pair):
    margin, plain = pair
    words = told(margin.plot())
    assert f"Relevance for “{NAME}” in the answer: [w7]" in words
    assert f"margin {signed(margin.words[0].logit)}" in words
    assert not re.search(r"logit [+-]", words)
    assert f"logit {signed(plain.words[0].logit)}" in told(plain.plot())
    assert "against" not in told(plain.plot())
    for figure in (margin.plot_words(), margin.plot_matrix()):
        assert NAME in told(figure)
        assert {entry["word"] for entry in figure.numbers} == {NAME}


def test_tables_and_files_of_a_margin_have_the_other_word(pair, tmp_path):
    margin, plain = pair
    for found, other in ((margin, "w9"), (plain, None)):
        (word,) = json.loads(found.to_json())["words"]
        assert word["against"] == other
        found.to_csv(tmp_path / "a.csv")
        (written,) = pandas.read_csv(tmp_path / "a.csv", keep_default_na=False)["against"]
        assert written == (other or "")
        found.save(tmp_path / "a.safetensors")
        assert ExplainedAnswer.load(tmp_path / "a.safetensors").against == other


def test_a_file_of_an_earlier_version_has_no_other_word(pair, tmp_path):
    pair[0].save(tmp_path / "new.safetensors")
    description, tensors = read_tensors(tmp_path / "new.safetensors", KEY, "an answer")
    assert description["answer"]["attribution"].pop("against") == ["w9"]
    write_tensors(tmp_path / "old.safetensors", tensors, KEY, description)
    old = ExplainedAnswer.load(tmp_path / "old.safetensors")
    assert old.against is None
    assert torch.equal(old.relevance(0), pair[0].relevance(0))
    assert "logit" in told(old.plot())


def test_the_page_says_what_a_margin_supports(pair):
    margin, plain = (found.to_html() for found in pair)
    assert "Red supports “w7” over “w9”, blue “w9” over “w7”." in margin
    assert "<dt>margin of “w7” over “w9”</dt>" in margin
    assert '<th scope="col">margin</th>' in margin
    assert f"<td>{NAME}</td>" in margin
    assert "Red supports the word, blue speaks against it." in plain
    assert '<th scope="col">logit</th>' in plain
    assert "<dt>margin of" not in plain


@pytest.mark.parametrize("processor", [TOKENIZER, None], ids=["text", "ids"])
def test_an_attribution_of_a_margin_says_so(processor, tmp_path):
    model, inputs, _ = batch("llava", 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = lime_xai.attribute(model, inputs, (7, 9), processor=processor)
    one, other = ("w7", "w9") if processor else ("token 7", "token 9")
    assert found.against == [other, other]
    page = found.to_html()
    assert f"Red supports “{one}” over “{other}”" in page
    assert f"<td>{one} against {other}</td>" in page
    words = told(found.plot())
    assert f"margin {signed(float(found.logits[0]))}" in words
    assert "logit" not in words
    found.save(tmp_path / "a.safetensors")
    assert lime_xai.Attribution.load(tmp_path / "a.safetensors").against == found.against
    with pytest.raises(ValueError, match="against has 1 rows, spans 2"):
        replace(found, against=[other])
