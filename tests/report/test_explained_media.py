"""Explained answers about videos and raw waveforms: figures and pages say what they show, and what is not known."""

import json
import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.every_family import EVERY_FAMILY
from support.layout_families import Case, background
from support.layout_videos import FRAMES, VIDEOS, inputs_of
from support.words import numbered_tokenizer

from lime_xai import register_layout
from lime_xai.attribution.sounds import HEIGHT, INK, WIDTH, sound_picture
from lime_xai.model.layouts.layout import SoundLayout
from lime_xai.model.layouts.pictures import Received
from lime_xai.model.layouts.reading import LAYOUTS
from lime_xai.report.explain import explain

SHORT = {"max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False}


def explained(model, inputs, processor):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return explain(model, inputs, processor=processor, **SHORT)


def items(found):
    data = json.loads(re.search(r'id="data">(.*?)</script>', found.to_html(), re.S)[1])
    return data["entries"][0]["answers"][-1]["items"]


def texts(figure):
    return "\n".join(text.get_text() for text in (*figure.texts, *(t for axes in figure.axes for t in axes.texts)))


@pytest.mark.parametrize("name", ["qwen2_vl", "llava_onevision"])
def test_a_video_has_a_map_per_frame(name):
    case = VIDEOS[name]
    torch.manual_seed(0)
    model, processor = Case(case.make, ()).build()
    frames = [background(case.size, 3).point(lambda v, n=n: v - 80 * (n % 2)) for n in range(FRAMES)]
    found = explained(model, inputs_of(case, processor, frames), processor)
    (item,) = items(found)
    assert item["kind"] == "video"
    assert [view["title"] for view in item["views"]] == [f"frame {n + 1}" for n in range(FRAMES // case.per)]
    assert all(view["source"].startswith("data:image/") for view in item["views"])
    figure = found.plot()
    for number in range(FRAMES // case.per):
        assert f"frame {number + 1}" in texts(figure)
    with pytest.raises(ValueError, match=r"needs a sound of known layout; the prompt has video\."):
        found.plot_sound()


def heard(step):
    """An answer about a waveform, by a model whose layout is registered from outside; ``step``: seconds to a frame."""
    family = EVERY_FAMILY["vibevoice_asr"]
    model, inputs, _ = family.build()
    model.config.model_type = "my_hearer"
    times = torch.arange(120) / 120
    inputs["input_values"] = torch.sin(60 * times).reshape(1, 1, 120)
    try:

        @register_layout("my_hearer", modality="audio")
        def stretches(reading):
            frames = tuple((n, n + 20) for n in range(0, 120, 20))
            return [SoundLayout("audio", tuple(range(6)), frames, step)]

        return inputs["input_values"][0, 0].numpy(), explained(model, inputs, numbered_tokenizer())
    finally:
        del LAYOUTS["my_hearer", "audio"]


@pytest.mark.parametrize(
    ("step", "axis", "caption"),
    [
        (0.025, "seconds", "waveform, 0 to 3 s"),
        (None, "feature frames (seconds need the processor)", "waveform, 0 to 120 feature frames"),
    ],
)
def test_a_waveform_is_drawn_over_time(step, axis, caption):
    samples, found = heard(step)
    figure = found.plot_sound(events=[(0.5, 1.2, "dog")] if step else [(20, 50, "dog")])
    _, wave, bars = figure.axes[:3]  # the first holds the bars of events
    assert wave.get_ylabel() == "waveform"
    assert bars.get_xlabel() == axis
    assert bars.get_xlim() == wave.get_xlim() == (0, 120 * (step or 1))
    drawn = wave.collections[0].get_paths()[0].vertices
    assert drawn[:, 1].max() == pytest.approx(samples.max(), abs=1e-5)
    assert len({axes.get_position().bounds for axes in found.plot().axes}) == len(found.plot().axes)
    assert "dog" in texts(figure)
    (item,) = items(found)
    (view,) = item["views"]
    assert (item["kind"], view["tiles"]) == ("sound", [])
    assert view["title"].startswith(caption)
    assert [part["stop"] for part in view["stretches"]] == pytest.approx([n / 6 for n in range(1, 7)])


def test_a_waveform_of_unknown_layout_is_a_strip_with_the_reason():
    model, inputs, _ = EVERY_FAMILY["vibevoice_asr"].build()
    found = explained(model, inputs, numbered_tokenizer())
    reason = "no layout of audio tokens is registered for 'vibevoice_asr'"
    (item,) = items(found)
    assert reason in item["reason"]
    assert item["views"][0]["strip"]
    assert f"layout unknown: {reason}" in texts(found.plot())
    with pytest.raises(ValueError, match=f"that of this one is not known: {reason}"):
        found.plot_sound()


@pytest.mark.parametrize("count", [7, 120, 900, 5000])
def test_a_waveform_is_a_line_without_gaps(count):
    samples = np.sin(np.linspace(0, 20, count)).astype(np.float32)
    picture = sound_picture(Received((samples,), "waveform"))
    assert picture.shape == (HEIGHT, WIDTH, 3)
    ink = picture[..., 0] == INK
    assert ink.any(0).all()
    top, bottom = ink.argmax(0), HEIGHT - 1 - ink[::-1].argmax(0)
    assert (ink.sum(0) == bottom - top + 1).all()
    assert (np.maximum(top[1:], top[:-1]) <= np.minimum(bottom[1:], bottom[:-1]) + 1).all()


def test_a_word_of_white_space_has_a_name():
    _, found = heard(0.025)
    blank = replace(found, words=(replace(found.words[0], text=""), *found.words[1:]))
    for figure in (blank.plot(0), blank.plot_sound(0)):
        assert "“(white space)”" in texts(figure)
