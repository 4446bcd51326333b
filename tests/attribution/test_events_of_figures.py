"""Bounds of events on figures and pages of an attribution."""

import json

import pytest

import lime_xai
from lime_xai.worlds import example, load_world

EVENTS = {"bird": (0.25, 0.75), "clock": [(0.5, 1.5), (3.0, 3.5)]}


@pytest.fixture(scope="module")
def found():
    model, processor, inputs = example("is there a bird in the sound ?", world="sound")
    return lime_xai.attribute(model, inputs, 5, processor=processor)


def bounds(figure):
    """Places of vertical lines over the axes of time."""
    times = [axes for axes in figure.axes if axes.get_xlim() == (0.0, 4.0)]
    return [
        sorted({round(float(line.get_xdata()[0]), 3) for line in axes.lines if len(set(line.get_xdata())) == 1})
        for axes in times
    ]


def test_a_figure_has_the_bounds_of_events_under_their_names_on_the_sound_and_over_the_bars(found):
    plain, drawn = found.plot(), found.plot(events=EVENTS)
    assert not any(bounds(plain))
    assert [lines for lines in bounds(drawn) if lines] == [[0.25, 0.5, 0.75, 1.5, 3.0, 3.5]] * 3  # names, sound, bars
    texts = [text.get_text() for axes in drawn.axes for text in axes.texts]
    assert any("bird" in text for text in texts)
    assert sum("clock" in text for text in texts) == 2


@pytest.mark.parametrize("draw", ["plot", "to_html"])
def test_events_that_do_not_fit_are_refused(found, draw):
    with pytest.raises(ValueError, match="'bird' lasts from 1 to 9, the sound from 0 to 4"):
        getattr(found, draw)(events={"bird": (1, 9)})
    with pytest.raises(ValueError, match=r"entries for 2 sound\(s\), the prompt has 1"):
        getattr(found, draw)(events=[EVENTS, EVENTS])


def test_pages_have_events_row_by_row():
    model, processor, _ = example(world="sound")
    world = load_world("sound")
    clips = world.evaluation_set(900, scenes=2).clips
    inputs = world.batch(processor, clips, [world.prompt("is there a bird in the sound ?")] * 2)
    found = lime_xai.attribute(model, inputs, 5, processor=processor)
    page = found.to_html(events=[None, EVENTS])
    assert page.count(json.dumps("clock")) > found.to_html().count(json.dumps("clock"))
    with pytest.raises(ValueError, match="expected a list of 2, one entry per row"):
        found.to_html(events=EVENTS)
