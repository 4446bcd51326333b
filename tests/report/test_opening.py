"""The word on which a page opens, ticks of time, and what a page of a sound or of several answers holds."""

import re
import warnings
from dataclasses import replace

import pytest
from support.families import FAMILIES
from support.words import numbered_tokenizer

from lime_xai.attribution.page.items import ticks
from lime_xai.report.explain import explain
from lime_xai.report.opening import DIFFERENT, SAME, opening
from lime_xai.report.page import Entry, answer_page, report_page


@pytest.fixture(scope="module", params=["llava", "qwen2_audio"])
def answer(request):
    model, inputs, _ = FAMILIES[request.param].build()
    length = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return explain(model, inputs, processor=numbered_tokenizer(), **length)


def said(answer, texts, shares=(0.1, 0.2, 0.3, 0.4)):
    """The answer with these words and perceptual shares."""
    (name,) = answer.attribution.row(0).names
    words = [
        replace(word, text=text, special=text.startswith("<"), shares={name: share, "prompt": 1 - share})
        for word, text, share in zip(answer.words, texts.split(), shares, strict=False)
    ]
    return replace(answer, words=tuple(words))


def test_a_page_opens_on_the_word_that_rests_most_on_the_input(answer):
    places, why = opening(said(answer, "a sun , </s>"))
    assert places == [1]
    assert "largest share of relevance on the " in why
    assert opening(said(answer, ", , . </s>"))[0] == [2]
    assert opening(said(answer, "</s> </s> </s> </s>"))[0] == [3]
    assert opening(said(answer, "a sun moon star", (0.4, 0.1, 0.1, 0.1)))[0] == [0]


def test_two_answers_open_where_they_differ(answer):
    sun = said(answer, "a sun , moon")
    assert opening(replace(sun, before=said(answer, "a cat , moon"))) == ([1, 1], DIFFERENT)
    assert opening(replace(sun, before=said(answer, "a sun"))) == ([1, 2], DIFFERENT)
    places, why = opening(replace(sun, before=sun))
    assert places == [3, 3]
    assert why.startswith(SAME)


def test_grey_is_offered_only_for_pictures(answer):
    sound = bool(answer.attribution.layouts[0][0].modality == "audio")
    assert ('id="grey"' in answer_page(answer)) is not sound


def test_the_table_of_several_answers_names_the_file_of_each_word(answer):
    page = report_page([Entry("a.png", answer), Entry("b.png", answer)], "Two")
    table = page[page.index("<table>") : page.index("</table>")]
    assert table.count("<tr>") == 1 + 2 * len(answer.words)
    assert [table.count(f">{name}</td>") for name in ("a.png", "b.png")] == [len(answer.words)] * 2
    single = answer_page(answer)
    columns = [re.findall(r'<th scope="col">(.*?)</th>', one) for one in (page, single)]
    assert columns[0] == [*columns[1], "file"]


@pytest.mark.parametrize(("end", "unit"), [(0.07, "s"), (1.0, "s"), (4.0, "s"), (29.98, "s"), (3000, "")])
def test_ticks_are_round_and_inside(end, unit):
    found = ticks(end, unit)
    assert found[0]["text"].split()[0] == "0"
    assert 3 <= len(found) <= 7
    for tick in found:
        assert 0 <= tick["place"] <= 1
        assert float(tick["text"].split()[0]) == pytest.approx(tick["place"] * end, rel=1e-4, abs=1e-6 * end)
