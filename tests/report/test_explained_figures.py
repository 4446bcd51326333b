"""Figures and files of explained answers hold the numbers of the answer."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from support.families import FAMILIES
from support.words import numbered_tokenizer

from lime_xai.attribution.bars import Bar, Chosen, draw_bars
from lime_xai.attribution.colours import NEGATIVE, OPACITY, POSITIVE
from lime_xai.attribution.events import as_events
from lime_xai.attribution.sheet import DPI, WIDTHS, Sheet, signed
from lime_xai.report.answer import ExplainedAnswer, Step
from lime_xai.report.explain import explain
from lime_xai.report.page import answer_page
from lime_xai.report.payload import payload

SHORT = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
KINDS = ("plot", "plot_words", "plot_matrix", "plot_before_after", "plot_steps")


def explained(family, policy=None):
    model, inputs, _ = FAMILIES[family].build()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return explain(model, inputs, policy, processor=numbered_tokenizer(), **SHORT)


@pytest.fixture(scope="module")
def edited():
    return explained("llava_next", "edit")


@pytest.fixture(scope="module")
def heard():
    return explained("qwen2_audio")


def lines(figure):
    return [text.get_text() for text in figure.texts]


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_figures_are_saved_with_their_numbers_and_nothing_lies_outside(kind, columns, edited, tmp_path):
    import pandas

    figure = getattr(edited, kind)(columns=columns)
    assert figure.get_size_inches()[0] == WIDTHS[columns]
    figure.save(tmp_path / "a.png")
    assert len(pandas.read_csv(tmp_path / "a.csv")) == len(figure.numbers) > 0
    for axes in figure.axes:
        box = axes.get_position()
        assert -0.001 <= box.x0 < box.x1 <= 1.001
        assert -0.001 <= box.y0 < box.y1 <= 1.001
    figure.set_dpi(DPI)  # matplotlib keeps the sizes of text that it measured for the file
    FigureCanvasAgg(figure).draw()
    width, height = figure.get_size_inches() * figure.dpi
    drawn = [text.get_window_extent() for text in figure.texts]
    for box in (*drawn, *(axes.get_tightbbox() for axes in figure.axes)):
        assert box.x0 >= -1
        assert box.x1 <= width + 3
        assert box.y0 >= -1
        assert box.y1 <= height + 1


def test_shares_and_grounding_are_bars(edited):
    shares, grounding = [axes for axes in edited.plot_words().axes if axes.patches and axes.get_ylabel()]
    heights = np.array([patch.get_height() for patch in shares.patches]).reshape(-1, len(edited.words))
    wanted = [[word.shares[name] for word in edited.words] for name in edited.words[0].shares]
    assert np.allclose(heights, wanted)
    assert [patch.get_height() for patch in grounding.patches] == [word.grounding for word in edited.words]
    assert [label.get_text() for label in grounding.get_xticklabels()] == [word.text for word in edited.words]


def test_the_matrix_loses_no_relevance(edited):
    for columns in (1, 2):
        (axes,) = [axes for axes in edited.plot_matrix(columns=columns).axes if axes.images]
        values = np.ma.filled(axes.images[0].get_array().astype(float), 0.0)
        assert values.sum(1) == pytest.approx([word.logit + word.residual for word in edited.words], abs=1e-4)


def test_before_and_after_have_one_scale(edited):
    figure = edited.plot_before_after(1)
    maps = [image for axes in figure.axes for image in axes.images if image.get_array().ndim == 2]
    assert len({image.get_clim() for image in maps}) == 1
    assert {entry["answer"] for entry in figure.numbers} == {"without a policy", "under Edit"}
    with pytest.raises(ValueError, match="compare=True"):
        edited.before.plot_before_after()


def test_the_objective_is_a_curve_per_token(edited):
    curves = [line for axes in edited.plot_steps().axes for line in axes.lines if line.get_marker() == "."]
    assert [tuple(curve.get_ydata()) for curve in curves] == [step.losses for step in edited.steps]
    for without in (replace(edited, steps=()), replace(edited, steps=(Step(),))):
        with pytest.raises(ValueError, match="needs the objective of an edit"):
            without.plot_steps()


EVENTS = {"dog $$": (4, 12), "[/x]": [(10, 18), (20, 26)], "bell": (11, 25)}
"""In feature frames, of which 5 to 19 are in three events at once."""


@pytest.mark.parametrize("columns", [1, 2])
def test_events_bound_stretches_of_a_sound_in_lanes_of_their_own(heard, columns):
    figure = heard.plot_sound(0, events=EVENTS, columns=columns)
    lanes, *drawn = [axes for axes in figure.axes if any(line.get_linestyle() == "--" for line in axes.lines)]
    assert len(drawn) == 2
    for axes in (lanes, *drawn):
        edges = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == "--"]
        assert edges == [4, 12, 10, 18, 20, 26, 11, 25]
        assert axes.get_xlim() == drawn[0].get_xlim()
    assert [text.get_text() for text in lanes.texts] == ["dog $$", "[/x]", "[/x]", "bell"]
    assert not any(text.get_parse_math() for text in lanes.texts)
    FigureCanvasAgg(figure).draw()
    boxes = [bar.get_paths()[0].get_extents() for bar in lanes.collections]
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    names = [text.get_window_extent() for text in lanes.texts]
    assert not any(one.overlaps(other) for i, one in enumerate(names) for other in names[:i])
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in names)


def test_a_figure_of_events_tells_their_shares(heard):
    figure = heard.plot_sound(0, events=EVENTS)
    layout = heard.attribution.layouts[0][0]
    end = max(stop for _, stop in layout.frames)
    parts = heard.time(0, duration=float(end)).events(EVENTS)
    rows = {row["label"]: row for row in figure.numbers if row["kind"] == "event"}
    assert list(rows) == [*EVENTS, "outside"]
    for name, part in (*parts.events.items(), ("outside", parts.outside)):
        assert (rows[name]["share"], rows[name]["chance"]) == pytest.approx((part.share, part.chance))
    told = " ".join(lines(figure))
    assert f"bell {parts['bell'].share:.0%} ({parts['bell'].chance:.0%})" in told.replace("\n", " ")


def test_other_events_are_refused(heard, edited, tmp_path):
    for events in ([(4, 2, "a")], [(1, 2)], [("a", 2, "b")], [(0, float("inf"), "b")], [3]):
        with pytest.raises(ValueError, match=r"expected \(start, stop, name\)"):
            heard.plot_sound(events=events)
    with pytest.raises(ValueError, match="lasts from 500 to 1200, the sound from 0"):
        heard.plot_sound(events={"dog": (500, 1200)})
    with pytest.raises(ValueError, match="lasts from 500 to 1200, the sound from 0"):
        heard.to_html(tmp_path / "a.html", events={"dog": (500, 1200)})
    with pytest.raises(ValueError, match=r"for 1 sound.*the prompt has 0"):
        edited.to_html(tmp_path / "a.html", events={"dog": (1, 2)})
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="needs a sound of known layout; the prompt has image"):
        edited.plot_sound()


def test_the_page_has_the_bounds_of_events(heard):
    bare, named = (payload(heard, "", events)["items"][0]["views"][0] for events in (None, EVENTS))
    end = max(stop for _, stop in heard.attribution.layouts[0][0].frames)
    assert "events" not in bare
    found = [(round(bar["start"] * end), round(bar["stop"] * end), bar["name"]) for bar in named["events"]]
    assert found == as_events(EVENTS)
    assert named["lanes"] == 1 + max(bar["lane"] for bar in named["events"]) == 3
    assert len({bar["lane"] for bar in named["events"] if bar["start"] * end < 12}) == 3


def test_the_relevance_of_a_word_over_time_is_that_of_its_tokens(heard):
    layout = heard.attribution.layouts[0][0]
    found = heard.time(1, duration=2.0)
    assert found.relevance.tolist() == heard.relevance(1)[list(layout.positions)].tolist()
    assert found.duration == 2.0
    with pytest.raises(ValueError, match="The row has 1 sounds; number 1"):
        heard.time(1, sound=1)


def test_a_word_is_given_by_number_text_or_not_at_all(edited):
    named = edited.plot(edited.words[2].text)
    assert lines(named)[0].startswith(f"Relevance for “{edited.words[2].text}”")
    lowest = min((word.grounding, index) for index, word in enumerate(edited.words))[1]
    assert edited.first_word == lowest
    assert lines(edited.plot()) == lines(edited.plot(lowest))
    for word, error in ((99, IndexError), (True, TypeError), ("nothing", ValueError), (1.0, TypeError)):
        with pytest.raises(error):
            edited.plot(word)


@pytest.mark.parametrize("text", ["$$x$$", "[/x]", "שלום", "👩‍🚀", "猫"])
def test_words_are_shown_as_they_are(text, edited):
    found = replace(edited, words=tuple(replace(word, text=text) for word in edited.words))
    for kind in KINDS:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph|.*font")
            assert getattr(found, kind)()._repr_png_().startswith(b"\x89PNG")
    (axes,) = [axes for axes in found.plot_matrix().axes if axes.images]
    assert [label.get_text() for label in axes.get_yticklabels()] == [text] * len(found.words)
    assert not any(label.get_parse_math() for label in axes.get_yticklabels() + axes.get_xticklabels())


@pytest.mark.parametrize("name", ["edited", "heard"])
def test_answers_are_saved_whole(name, request, tmp_path):
    found = request.getfixturevalue(name)
    found = replace(found, words=(replace(found.words[0], margin=float("inf")), *found.words[1:]))
    found.save(tmp_path / "a.safetensors")
    back = ExplainedAnswer.load(tmp_path / "a.safetensors")
    assert back == found
    assert back.to_html() == found.to_html()


def test_the_page_has_the_colours_of_figures(edited):
    page = answer_page(edited)
    assert f"--positive: {', '.join(map(str, POSITIVE))};" in page
    assert f"--negative: {', '.join(map(str, NEGATIVE))};" in page
    assert f'step="0.05" value="{OPACITY}"' in page
    assert "178,24,43" not in page.replace(" ", "").replace("--positive:178,24,43", "")


@pytest.mark.parametrize("factor", [1e-5, 1, 1e5])
def test_the_names_of_axes_of_a_sound_lie_inside_the_figure(heard, factor):
    attribution = replace(heard.attribution, relevance=heard.attribution.relevance * factor)
    figure = replace(heard, attribution=attribution).plot_sound(0)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    names = [axes.yaxis.label.get_window_extent() for axes in figure.axes if axes.get_ylabel()]
    assert names
    assert all(0 <= name.x0 < name.x1 for name in names)


def test_before_and_after_are_titled_by_what_is_said_in_the_place(edited):
    def titled(*texts):
        words = [tuple(replace(w, text=t) for w, t in zip(edited.words, one, strict=False)) for one in texts]
        before = replace(edited.before, words=words[0])
        return lines(replace(edited, words=words[1], before=before).plot_before_after(1))[0]

    assert titled("abcd", "aXcd") == "“b” → “X” without and with the policy"
    assert titled("abcX", "aXcd") == "“X” without and with the policy"
    assert "ends before this place, with “a”" in titled("a", "aXcd").replace("\n", " ")


def test_the_figure_of_words_names_method_and_residuals(edited):
    residuals = [word.residual for word in edited.words]
    figure = edited.plot_words()
    told = f"method attnlrp, residual of a word {signed(min(residuals))} to {signed(max(residuals))}"
    assert told in lines(figure)
    assert [entry["residual"] for entry in figure.numbers] == residuals


@pytest.mark.parametrize(("extra", "told"), [(1, "1 word left out"), (2, "2 words left out")])
def test_words_that_are_left_out_are_counted(extra, told):
    sheet = Sheet()
    bars = [Bar("a", 1.0, 0)]
    draw_bars(sheet, Chosen(tuple(bars), extra, 0.5), 1.5, (0, 0, 3), kind="word")
    assert any(line.startswith(f"{told}, together +0.50") for line in lines(sheet.figure))
