"""Maps on the pictures that the model received: where they lie, what the figure says, and what is saved with it."""

import re
import warnings

import numpy as np
import pytest
import torch
from rich.console import Console
from support.every_family import EVERY_FAMILY
from support.families import FAMILIES
from support.words import numbered_tokenizer
from test_figures import LAYOUTS, SPANS, VALUES, labels, lines, made, maps, one

import lime_xai
from lime_xai import Attribution, Span
from lime_xai.attribution.bars import Bar, chosen
from lime_xai.attribution.colours import NEGATIVE, OPACITY, POSITIVE, greyed, ink_on, on_white
from lime_xai.attribution.row import readable
from lime_xai.attribution.sheet import OVERLAY, WIDTHS
from lime_xai.model.layouts.layout import ImageLayout, SoundLayout, Tile, UnknownLayout
from lime_xai.model.layouts.pictures import Received

TOKENIZER = numbered_tokenizer()


def attributed(family):
    model, inputs, _ = EVERY_FAMILY[family].build()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lime_xai.attribute(model, inputs, [7, 9], "gradient_input", processor=TOKENIZER)


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if family.attributable])
def test_every_family_is_drawn_on_what_it_received(family, columns):
    found = attributed(family)
    figure = found.plot(columns=columns)
    assert figure.get_size_inches()[0] == WIDTHS[columns]
    wanted = [
        greyed(picture)
        for layout, received in zip(found.layouts[0], found.received[0], strict=True)
        if layout.tiles
        for picture in received.pictures
    ]
    shown = [np.asarray(axes.images[0].get_array()) for axes in maps(figure)]
    shown = [array for array in shown if array.ndim == 3 and len(array) > 1]
    assert len(shown) >= len(wanted)
    assert all(any(np.array_equal(array, picture) for array in shown) for picture in wanted)
    inside = [axes.get_position() for axes in figure.axes]
    assert all(0 <= box.x0 < box.x1 <= 1 and 0 <= box.y0 < box.y1 <= 1 for box in inside)


def test_tiles_lie_at_their_places_on_the_picture():
    tiles = (Tile(1, 2, (1, 2), (0.0, 0.0, 0.5, 1.0)), Tile(1, 2, (3, 4), (0.5, 0.0, 1.0, 1.0)))
    layout = ImageLayout("image", (1, 2, 3, 4), tiles)
    picture = np.random.default_rng(0).integers(0, 255, (20, 40, 3), np.uint8)
    found = one(layout, tokens=6)
    object.__setattr__(found, "received", [[Received((picture,), "pictures")]])
    (axes,) = maps(found.plot())
    under, *over = axes.images
    assert np.array_equal(under.get_array(), greyed(picture))
    assert [image.get_extent() for image in over] == [[0.0, 0.5, 1.0, 0.0], [0.5, 1.0, 1.0, 0.0]]
    assert axes.get_aspect() == pytest.approx(0.5)


def test_colours_are_linear_in_relevance_and_the_same_everywhere():
    for value in (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0):
        red, green, blue, alpha = OVERLAY(0.5 + value / 2)
        assert alpha == pytest.approx(OPACITY * abs(value), abs=0.002)
        mixed = [255 * (1 - alpha) + 255 * alpha * side for side in (red, green, blue)]
        assert mixed == pytest.approx(on_white(value, 1.0), abs=1)
    assert OVERLAY(1.0)[:3] == pytest.approx([side / 255 for side in POSITIVE])
    assert OVERLAY(0.0)[:3] == pytest.approx([side / 255 for side in NEGATIVE])


@pytest.mark.parametrize("value", np.linspace(-1, 1, 9))
def test_numbers_in_a_terminal_are_read_on_their_colour(value):
    def luminance(colour):
        linear = [s / 255 / 12.92 if s <= 10 else ((s / 255 + 0.055) / 1.055) ** 2.4 for s in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    paper = on_white(value, 1.0)
    high, low = sorted((luminance(paper), luminance(ink_on(paper))), reverse=True)
    assert (high + 0.05) / (low + 0.05) >= 4.5


def test_the_caption_names_target_method_logit_shares_and_residual():
    found = attributed("llava")
    text = " ".join(lines(found.plot()))
    share = float(found.row(0).shares["image"])
    assert "Relevance for “w7 w9”" in text
    assert "method gradient_input" in text
    assert f"share of image {share:.1%}" in text
    assert re.search(r"logit [+-][\d.]+, .*residual [+-][\d.]+", text)
    strongest = found.row(0).strongest()
    assert f"strongest image token {strongest['image']:+.2f}, strongest text token {strongest['text']:+.2f}" in text
    assert abs(strongest["image"]) == np.abs(found.row(0).of(found.layouts[0][0].positions)).max()


def test_a_margin_and_ids_are_named():
    model, inputs, _ = FAMILIES["llava"].build()
    assert lime_xai.attribute(model, inputs, (7, 9), processor=TOKENIZER).targets == ["w7 against w9"]
    assert lime_xai.attribute(model, inputs, (7, 9)).targets == ["token 7 against token 9"]
    assert made().targets == ["token 3", "token 4"]


@pytest.mark.parametrize("count", [26, 300, 3000])
def test_of_a_long_text_the_strongest_tokens_are_drawn_with_their_neighbours(count):
    values = torch.linspace(-1, 1, count)[torch.randperm(count, generator=torch.Generator().manual_seed(0))]
    found = Attribution(
        relevance=values[None],
        input_ids=torch.arange(count)[None],
        target_ids=torch.tensor([[3]]),
        logits=values.sum()[None],
        attended=torch.ones(1, count, dtype=torch.bool),
        spans=[[Span("text", 0, count)]],
        method="attnlrp",
    )
    figure = found.plot()
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    drawn = [int(name) for name in names if name != "…"]
    assert len(names) <= 44
    assert drawn == sorted(drawn)
    strong = values.abs().argsort(descending=True)[:10].tolist()
    assert set(strong) <= set(drawn)
    assert {p + step for p in strong for step in (-1, 1)} & set(range(count)) <= set(drawn)
    assert [patch.get_width() for patch in axes.patches] == pytest.approx(values[drawn].tolist())
    left_out = count - len(drawn)
    rest = float(values.sum() - values[drawn].sum())
    said = any(line.startswith(f"{left_out} tokens left out, together") for line in lines(figure))
    assert said == bool(left_out)
    assert chosen([Bar(str(p), float(v), p) for p, v in enumerate(values)]).rest == pytest.approx(rest, abs=1e-3)
    assert figure.get_size_inches()[1] < 8


def test_a_text_without_pictures_has_one_panel():
    figure = made(spans=[[Span("text", 0, 7)], SPANS[1]], layouts=[[], LAYOUTS[1]]).plot()
    assert len(figure.axes) == 1
    assert not any("image" in line for line in lines(figure))


HOSTILE = ["$$x^2$$", "[/x]", "שלום", "👩‍🚀", "猫", "a_b^c", "\\frac", "\x1b[31m"]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_shown_as_it_is(text, tmp_path):
    found = made(tokens=[[text] * 7, [text] * 7])
    figure = found.plot(title=text)
    shown = text.replace("\x1b", "\\x1b")
    assert labels(figure) == [shown] * 3
    assert shown in lines(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph|.*font")
        figure.savefig(tmp_path / "a.png")
        figure.savefig(tmp_path / "a.pdf")
    console = Console(record=True, width=80, quiet=True)
    console.print(found.text(0, 80))
    assert shown in found.text(0, 80).plain


def test_white_space_and_long_labels_are_readable():
    assert [readable(label) for label in (" is", "\n", " ", "a\nb", "x" * 40)] == [
        "is",
        "↵",
        "␣",
        "a↵b",
        "x" * 23 + "…",
    ]


def test_a_notebook_shows_the_figure_and_files_embed_fonts(tmp_path):
    figure = made().plot()
    assert figure._repr_png_().startswith(b"\x89PNG")
    figure.save(tmp_path / "a.pdf")
    assert b"/Type /Font" in (tmp_path / "a.pdf").read_bytes()
    assert b"/Subtype /Type3" not in (tmp_path / "a.pdf").read_bytes()
    import pandas

    table = pandas.read_csv(tmp_path / "a.csv")
    assert table["relevance"].tolist() == pytest.approx(VALUES[0, [1, 2, 3, 4, 0, 5, 6]].tolist())
    assert table[["x0", "y0"]].dropna().to_numpy().tolist() == [[0, 0], [0.5, 0], [0, 0.5], [0.5, 0.5]]
    for name in ("a.txt", "a", "a.csv"):
        with pytest.raises(ValueError, match="names no format of figures"):
            figure.save(tmp_path / name)
    with pytest.raises(ValueError, match="make it first"):
        figure.save(tmp_path / "no" / "a.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.pdf"]


@pytest.mark.parametrize("columns", [0, 3, True, "1"])
def test_other_widths_are_refused(columns):
    with pytest.raises(ValueError, match="1 or 2 columns of a page"):
        made().plot(columns=columns)


@pytest.mark.parametrize("family", ["llava_next", "qwen2_audio", "qwen2_5_vl"])
def test_pictures_are_saved_and_draw_the_same_figure(family, tmp_path):
    found = attributed(family)
    found.save(tmp_path / "a.safetensors")
    back = Attribution.load(tmp_path / "a.safetensors")
    assert back == found
    assert back.plot()._repr_png_() == found.plot()._repr_png_()


def test_pictures_that_do_not_fit_are_refused(tmp_path):
    picture = np.zeros((4, 4, 3), np.uint8)
    sound = SoundLayout("audio", (1, 2), ((0, 1), (1, 2)))
    cases = [
        (LAYOUTS[0][0], Received((picture, picture), "pictures"), "2 pictures do not fit the 1 maps"),
        (sound, Received((picture,), "pictures"), "do not fit the 1 maps of a SoundLayout"),
        (sound, Received((picture,), "waveform"), "no part of waveform"),
        (LAYOUTS[0][0], Received((picture[..., 0],), "pictures"), "no part of pictures"),
    ]
    for layout, received, message in cases:
        found = one(layout)
        object.__setattr__(found, "received", [[received]])
        found.save(tmp_path / "a")
        with pytest.raises(ValueError, match=message):
            Attribution.load(tmp_path / "a")


def test_a_given_grid_lies_on_the_picture_only_if_it_is_known():
    picture = np.full((6, 6, 3), 7, np.uint8)
    found = made()
    object.__setattr__(found, "received", [[Received((picture,), "pictures")], []])
    (axes,) = maps(found.plot(grid=(1, 4)))
    assert len(axes.images) == 2
    unknown = made(layouts=[[UnknownLayout("image", (1, 2, 3, 4), "why")], LAYOUTS[1]])
    object.__setattr__(unknown, "received", [[Received(reason="no")], []])
    (axes,) = maps(unknown.plot(grid=(2, 2)))
    assert len(axes.images) == 1
    assert "not on the picture: the picture of the given grid is not known" in lines(unknown.plot(grid=(2, 2)))


def test_byte_tokens_have_readable_labels():
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made_ = tokenizers.Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    made_.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made_.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made_)
    from lime_xai.model.pieces import readable_labels

    ids = torch.tensor([tokenizer("a 猫", add_special_tokens=False)["input_ids"]])
    assert readable_labels(ids, [[Span("text", 0, ids.shape[1])]], tokenizer) == [
        ["a", " ", "猫 1/3", "猫 2/3", "猫 3/3"]
    ]


def test_bars_beside_maps_do_not_overlap_them():
    figure = attributed("llava_next").plot(columns=2)
    (text,) = [axes for axes in figure.axes if axes.get_yticklabels() and "token" in axes.get_xlabel()]
    assert all(axes.get_position().x1 < text.get_position().x0 for axes in maps(figure))
