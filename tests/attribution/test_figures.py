"""Pictures and text of attributions hold the numbers they stand for."""

import io
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from support.families import FAMILIES

import lime_xai
from lime_xai import Attribution, Span
from lime_xai.attribution.colours import greyed, on_white
from lime_xai.attribution.figure import attribution_figure
from lime_xai.model.layouts.layout import ImageLayout, SoundLayout, Tile, UnknownLayout, VideoLayout

TOKENS = [["<s>", "im", "im", "im", "im", "a", "b"], ["<pad>", "<s>", "im", "im", "c", "d", "e"]]
VALUES = torch.tensor([[0.5, 1.0, -2.0, 0.25, 4.0, -1.0, 0.0], [9.0, 0.1, 3.0, -1.0, 0.2, -0.3, 0.4]])
SPANS = [
    [Span("text", 0, 1), Span("image", 1, 5), Span("text", 5, 7)],
    [Span("text", 1, 2), Span("image", 2, 4), Span("text", 4, 7)],
]

LAYOUTS = [
    [ImageLayout("image", (1, 2, 3, 4), (Tile(2, 2, (1, 2, 3, 4)),))],
    [ImageLayout("image", (2, 3), (Tile(1, 2, (2, 3)),))],
]


def made(relevance=VALUES, tokens=TOKENS, spans=SPANS, layouts=LAYOUTS):
    attended = torch.ones(2, 7, dtype=torch.bool)
    attended[1, 0] = False
    relevance = relevance * (attended if relevance.dim() == 2 else attended[:, None])
    return Attribution(
        relevance=relevance,
        input_ids=torch.arange(14).reshape(2, 7),
        target_ids=torch.tensor([[3], [4]]).expand(2, 1 if relevance.dim() == 2 else relevance.shape[1]),
        logits=relevance.sum(-1),
        attended=attended,
        spans=spans,
        method="attnlrp",
        tokens=tokens,
        layouts=layouts,
    )


def one(layout, spans=None, tokens=10):
    """A row of increasing relevance whose tokens but the first and last belong to one layout."""
    values = torch.arange(tokens, dtype=torch.float32)[None]
    whole = [[Span("text", 0, 1), Span(layout.modality, 1, tokens - 1), Span("text", tokens - 1, tokens)]]
    return Attribution(
        relevance=values,
        input_ids=torch.arange(tokens)[None],
        target_ids=torch.tensor([[3]]),
        logits=values.sum(-1),
        attended=torch.ones(1, tokens, dtype=torch.bool),
        spans=spans or whole,
        method="attnlrp",
        layouts=[[layout]],
    )


def parts(figure):
    """The axes with the tiles of what is perceived, and the axes with the bars of the text."""
    (perceived,) = maps(figure)
    (text,) = [axes for axes in figure.axes if axes.get_yticklabels() and axes.get_xlabel() == "relevance of a token"]
    return perceived, text


def maps(figure):
    return [axes for axes in figure.axes if tiles_of(axes)]


def alone(figure):
    """The axes of the only bars of text in a figure without maps."""
    (axes,) = figure.axes
    return axes


def tiles_of(axes):
    return [image for image in axes.images if np.asarray(image.get_array()).ndim == 2]


def lines(figure):
    """The lines of text around the panels."""
    return [text.get_text() for text in figure.texts]


def grid_of(figure):
    (tiles,) = tiles_of(parts(figure)[0])
    return np.asarray(tiles.get_array()).tolist()


def bars(figure):
    return [patch.get_width() for patch in parts(figure)[1].patches]


def labels(figure):
    return [label.get_text() for label in parts(figure)[1].get_yticklabels()]


def cells(attribution, row=0, width=80):
    """Lines of the shaded grid: those between the headline of the image and the next text token."""
    shown = attribution.text(row, width).plain.splitlines()
    (start,) = [index for index, line in enumerate(shown) if "image: " in line]
    return [line for line in shown[start + 1 :] if line and not any(letter.isalnum() for letter in line)]


@pytest.mark.parametrize("row", [0, 1])
def test_the_figure_shows_the_relevance_of_its_row(row):
    figure = made().plot(row)
    perceived, text = parts(figure)
    (seen,) = [s for s in SPANS[row] if s.modality == "image"]
    wanted = VALUES[row, seen.start : seen.stop]
    assert np.concatenate(grid_of(figure)).tolist() == wanted.tolist()
    read = [p for s in SPANS[row] if s.modality == "text" for p in range(s.start, s.stop)]
    assert bars(figure) == pytest.approx(VALUES[row, read].tolist())
    assert labels(figure) == [TOKENS[row][p] for p in read]
    assert text.yaxis_inverted()
    assert perceived.get_aspect() == len(grid_of(figure)) / len(grid_of(figure)[0])
    assert f"relevance of the image: {float(wanted.sum()):+.2f}" in lines(figure)
    assert f"relevance of the text: {float(VALUES[row, read].sum()):+.2f}" in lines(figure)


def test_colours_are_symmetric_so_that_zero_is_white():
    (tiles,) = tiles_of(parts(made().plot())[0])
    assert tiles.get_clim() == (-4.0, 4.0)


def test_positive_and_negative_bars_differ_in_colour():
    colours = [patch.get_facecolor() for patch in parts(made().plot(1))[1].patches]
    assert colours[0] == colours[1] == colours[3]
    assert colours[2] != colours[0]


def test_a_given_picture_lies_in_grey_under_the_map():
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    for given in (picture, Image.fromarray(picture)):
        figure = attribution_figure(made().row(0), given)
        (axes,) = maps(figure)
        under, over = axes.images
        assert np.array_equal(under.get_array(), greyed(picture))
        assert over.get_zorder() >= under.get_zorder()
        assert over.get_extent() == under.get_extent() == [0, 1, 1, 0]
        assert grid_of(figure) == grid_of(made().plot())


def test_a_grid_may_be_given_and_must_fit():
    assert grid_of(made().plot(grid=(1, 4))) == [VALUES[0, 1:5].tolist()]
    assert [len(line) for line in cells(made(), 0)] == [4, 4]
    assert grid_of(made().plot(grid=[(1, 4)])) == [VALUES[0, 1:5].tolist()]
    assert grid_of(made().plot(grid=[None])) == grid_of(made().plot())


def test_tokens_of_unknown_layout_are_a_strip_that_says_so():
    unknown = [[UnknownLayout("image", (1, 2, 3, 4), "its $a$ reason")], LAYOUTS[1]]
    figure = made(layouts=unknown).plot()
    assert grid_of(figure) == [VALUES[0, 1:5].tolist()]
    assert {"relevance of the image: +3.25", "layout unknown: its $a$ reason"} <= set(lines(figure))
    assert not any(text.get_parse_math() for text in figure.texts)
    assert parts(figure)[0].get_xlabel() == "tokens, in order"
    assert (
        "layout unknown: its $a$ reason; tokens in their order\n░░--  ██\n" in made(layouts=unknown).text(0, 80).plain
    )
    assert grid_of(made(layouts=unknown).plot(grid=(2, 2))) == VALUES[0, 1:5].reshape(2, 2).tolist()
    assert [type(one) for row in made(layouts=[]).layouts for one in row] == [UnknownLayout, UnknownLayout]


def test_tiles_are_drawn_at_their_places_and_tokens_of_no_place_are_counted():
    parts_ = (
        Tile(1, 1, (1,)),
        Tile(1, 2, (2, 3), (0.0, 0.0, 0.5, 1.0)),
        Tile(1, 2, (4, 6), (0.5, 0.0, 1.0, 1.0)),
    )
    found = one(ImageLayout("image", tuple(range(1, 9)), parts_))
    overview, tiles = maps(found.plot())
    assert [image.get_extent() for image in tiles.images] == [[0.0, 0.5, 1.0, 0.0], [0.5, 1.0, 1.0, 0.0]]
    assert [np.asarray(image.get_array()).tolist() for image in tiles.images] == [[[2.0, 3.0]], [[4.0, 6.0]]]
    assert np.asarray(overview.images[0].get_array()).tolist() == [[1.0]]
    assert {"relevance of the image: +36.00", "not drawn: 3 tokens of no place, +20.00"} <= set(lines(found.plot()))
    text = found.text(0, 80).plain
    assert "not drawn: 3 tokens of no place, +20.00" in text
    assert "2 tiles:\n░░░░▒▒▓▓\n" in text


def test_tiles_of_unknown_place_are_drawn_apart_with_the_reason():
    parts_ = tuple(Tile(2, 2, tuple(range(start, start + 4)), None) for start in (1, 5))
    found = one(ImageLayout("image", tuple(range(1, 9)), parts_, "the inputs do not say"))
    shown = maps(found.plot())
    assert [text for text in lines(found.plot()) if text.startswith("tile")] == [
        "tile 1, place unknown",
        "tile 2, place unknown",
    ]
    assert [np.asarray(axes.images[0].get_array()).tolist() for axes in shown] == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    assert "the inputs do not say" in lines(found.plot())
    assert "the inputs do not say\ntile 1, place unknown:\n" in found.text(0, 80).plain


def test_frames_of_a_video_are_small_multiples():
    frames = tuple(Tile(2, 2, tuple(range(start, start + 4))) for start in (1, 5))
    found = one(VideoLayout("video", tuple(range(1, 9)), frames, 0.5))
    assert [text for text in lines(found.plot()) if text.endswith(" s")] == ["0 s", "0.5 s"]
    assert len(maps(found.plot())) == 2
    assert "0 s   0.5 s\n  ░░  ▓▓▓▓  \n░░▒▒  ████  \n" in found.text(0, 80).plain
    narrow = found.text(0, 8).plain
    assert "0 s:\n  ░░\n░░▒▒\n0.5 s:\n▓▓▓▓\n████\n" in narrow


@pytest.mark.parametrize(("step", "unit"), [(0.25, "seconds"), (None, "feature frames (seconds need the processor)")])
def test_a_sound_is_drawn_over_time(step, unit):
    frames = ((0, 2), (2, 4), (4, 6), (6, 8), (8, 10), (8, 10), (10, 12), (12, 13))
    found = one(SoundLayout("audio", tuple(range(1, 9)), frames, step))
    (axes,) = [axes for axes in found.plot().axes if axes.get_xlabel() == unit]
    scale = step or 1
    assert [bar.get_x() for bar in axes.patches] == [scale * start for start in (0, 2, 4, 6, 8, 10, 12)]
    assert [bar.get_width() for bar in axes.patches] == [scale * width for width in (2, 2, 2, 2, 2, 2, 1)]
    assert [bar.get_height() for bar in axes.patches] == [1, 2, 3, 4, 11, 7, 8]
    assert axes.get_xlim() == (0, 13 * scale)
    shown = found.text(0, 20).plain.splitlines()[3:-4]
    assert shown == (
        ["0.00 s     ░░░░██▓▓", "3.00 s ▓▓"]
        if step
        else [" 0.00 frames     ░░", " 6.00 frames ░░██▓▓", "12.00 frames ▓▓"]
    )


def test_several_images_have_a_panel_each_and_one_scale():
    layouts = [
        [ImageLayout("image", (1, 2), (Tile(2, 1, (1, 2)),)), ImageLayout("image", (3, 4), (Tile(1, 2, (3, 4)),))],
        LAYOUTS[1],
    ]
    found = made(layouts=layouts)
    first, second = maps(found.plot())
    assert [np.asarray(axes.images[0].get_array()).tolist() for axes in (first, second)] == [[[1], [-2]], [[0.25, 4]]]
    assert {axes.images[0].get_clim() for axes in (first, second)} == {(-4.0, 4.0)}
    assert {"relevance of image 1: -1.00", "relevance of image 2: +4.25"} <= set(lines(found.plot()))
    pictures = [np.zeros((4, 6, 3), np.uint8), np.ones((8, 2), np.uint8)]
    shown = [np.asarray(axes.images[0].get_array()) for axes in maps(found.plot(image=pictures))]
    assert all(np.array_equal(array, greyed(picture)) for array, picture in zip(shown, pictures, strict=True))
    assert maps(found.plot(image=pictures))[0].get_aspect() == 4 / 6
    alone = found.plot(image=pictures[0])
    shown = [np.asarray(image.get_array()) for axes in alone.axes for image in axes.images]
    assert sum(np.array_equal(array, pictures[0]) for array in shown) == 1
    assert [axes.get_aspect() for axes in maps(alone)] == [2.0, 0.5]


PICTURE = np.zeros((4, 4, 3), np.uint8)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"row": 2}, ValueError, "row is 2; the batch has rows 0 to 1"),
        ({"row": -1}, ValueError, "row is -1"),
        ({"row": True}, TypeError, "row is bool; expected int"),
        ({"row": "0"}, TypeError, "row is str; expected int"),
        ({"grid": (2, 3)}, ValueError, r"grid \(2, 3\) has 6 cells, the image has 4 tokens"),
        ({"grid": (-2, -2)}, ValueError, r"grid \(-2, -2\) has 4 cells"),
        ({"grid": (2.0, 2.0)}, TypeError, r"expected \(rows, columns\)"),
        ({"grid": 4}, TypeError, "grid is 4; expected"),
        ({"grid": "22"}, TypeError, "grid is '22'; expected"),
        ({"grid": [(2, 2), (2, 2)]}, ValueError, "grid has 2 pairs, the row 1 images, videos and sounds"),
        ({"image": [PICTURE, PICTURE]}, ValueError, "image holds 2 pictures, the row 1 images"),
        ({"image": "cat.png"}, TypeError, "image is str; expected a PIL image"),
        ({"image": np.zeros((4, 4, 7))}, ValueError, r"image has shape \(4, 4, 7\)"),
        ({"image": np.zeros((0, 4))}, ValueError, r"image has shape \(0, 4\)"),
        ({"title": 3}, TypeError, "title is int; expected str"),
    ],
)
def test_arguments_of_plot_are_checked(arguments, error, message):
    with pytest.raises(error, match=message):
        made().plot(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"row": 5}, ValueError, "row is 5"),
        ({"width": 0}, ValueError, "width is 0; a map needs at least 8"),
        ({"width": "wide"}, TypeError, "width is str"),
        ({"grid": (3, 3)}, ValueError, "has 9 cells"),
    ],
)
def test_arguments_of_text_are_checked(arguments, error, message):
    with pytest.raises(error, match=message):
        made().text(**arguments)


@pytest.mark.parametrize("width", [8, 20, 39, 40, 41, 80])
def test_maps_fit_the_width_and_lose_no_relevance(width):
    layout = ImageLayout("image", tuple(range(1, 401)), (Tile(10, 40, tuple(range(1, 401))),))
    found = one(layout, tokens=402)
    shown = [line for line in found.text(0, width).plain.splitlines() if line and set(line) <= set(" ░▒▓█.-=≡")]
    assert max(map(len, shown)) <= width
    edge = -(-40 // width)
    assert len(shown) == -(-10 // edge)
    assert (f"a cell is the sum of {edge} x {edge} tokens" in found.text(0, width).plain) == (edge > 1)


def test_a_text_only_row_is_drawn_without_an_empty_panel():
    figure = made(spans=[[Span("text", 0, 7)], SPANS[1]], layouts=[[], LAYOUTS[1]]).plot()
    assert [patch.get_width() for patch in alone(figure).patches] == pytest.approx(VALUES[0].tolist())


def test_labels_are_not_read_as_formulas(tmp_path):
    tokens = [["$", "$x", "im", "im", "im", "a$_", "$$b"], TOKENS[1]]
    figure = made(tokens=tokens).plot(title="$5 and $7")
    figure.savefig(tmp_path / "a.png")
    assert not any(text.get_parse_math() for text in (*figure.texts, *parts(figure)[1].get_yticklabels()))
    assert "$5 and $7" in lines(figure)


def test_an_answer_is_summed_over_its_tokens():
    answer = torch.stack([VALUES, 2 * VALUES, -0.5 * VALUES], 1)
    figure, single = made(answer).plot(), made(2.5 * VALUES).plot()
    assert bars(figure) == pytest.approx(bars(single))
    assert grid_of(figure) == grid_of(single)
    assert made(answer).text(0, 80).plain == made(2.5 * VALUES).text(0, 80).plain


def test_ids_stand_in_for_missing_labels():
    assert labels(made(tokens=None).plot(1)) == ["8", "11", "12", "13"]
    assert made(tokens=None).text(1, 80).plain.startswith("8 +0.10")


def test_figures_are_written_as_png(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made().plot(image=np.zeros((4, 4, 3), np.uint8)).savefig(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] > picture.size[1] > 100


def test_text_shows_every_number_and_a_grid_of_shades():
    found = made().text(0, 80)
    words = " ".join(found.plain.split())
    for part in ("<s> +0.50", "image: 4 tokens", "+3.25", "a -1.00 b 0.00"):
        assert part in words
    assert cells(made()) == ["░░--", "  ██"]
    papers = {found.plain[span.start : span.end]: span.style.bgcolor.triplet for span in found.spans}
    for part, value, limit in (("+0.50", 0.5, 1.0), ("-1.00", -1.0, 1.0), ("--", -2.0, 4.0), ("██", 4.0, 4.0)):
        assert papers[part] == on_white(value, limit)


def test_the_sign_of_a_map_is_read_without_colours():
    """Turning the sign of all relevance keeps how full a cell is, changes its mark, and the legend names both."""
    blocks, rules = " ░▒▓█", " .-=≡"
    up, down = made(VALUES), made(-VALUES)
    turned = str.maketrans(blocks + rules[1:], rules + blocks[1:])
    assert [line.translate(turned) for line in cells(up)] == cells(down)
    legend = f"\n{blocks[1:]} supports the target, {rules[1:]} speaks against it\n"
    assert legend in up.text(0, 80).plain
    plain = io.StringIO()
    Console(file=plain, no_color=True, force_terminal=True, width=80).print(down.text(0, 80))
    assert "..▒▒" in plain.getvalue()
    alone = made(spans=[[Span("text", 0, 7)], SPANS[1]], layouts=[[], LAYOUTS[1]])
    assert "supports" not in alone.text(0, 80).plain


def test_text_of_relevance_of_nothing_is_empty_shades():
    assert cells(made(torch.zeros(2, 7))) == ["    ", "    "]


def test_perceived_tokens_are_visible_beside_one_strong_word():
    """The picture is the point of the text form: one loud word must not blank it."""
    loud = VALUES.clone()
    loud[0, 5] = 100.0
    assert cells(made(loud)) == cells(made())


def test_text_is_deterministic_and_survives_a_terminal():
    model, inputs, _ = FAMILIES["llava"].build()
    texts = []
    for _ in range(2):
        console = Console(file=io.StringIO(), width=80, record=True)
        console.print(lime_xai.attribute(model, inputs).text())
        texts.append(console.export_text(styles=True))
    assert texts[0] == texts[1]
    assert "image: 4 tokens" in texts[0]


def test_shares_masks_and_residuals_by_hand():
    found = made()
    assert found.mask("image").nonzero().tolist() == [[0, 1], [0, 2], [0, 3], [0, 4], [1, 2], [1, 3]]
    assert found.mask("text").sum().item() == 7
    assert not bool(found.mask("video").any())
    assert found.shares["image"].tolist() == pytest.approx([7.25 / 8.75, 4.0 / 5.0])
    assert found.shares["text"].tolist() == pytest.approx([1.5 / 8.75, 1.0 / 5.0])
    assert found.residual.tolist() == [0.0, 0.0]
    answer = made(torch.stack([VALUES, torch.zeros_like(VALUES)], 1))
    assert answer.shares["image"].tolist()[0] == pytest.approx([7.25 / 8.75, 0.0])


@pytest.mark.parametrize("tokens", [TOKENS, None])
def test_a_saved_attribution_draws_the_same_figure(tokens, tmp_path):
    made(tokens=tokens).save(tmp_path / "a.safetensors")
    back = Attribution.load(tmp_path / "a.safetensors")
    assert back.text(0, 80).plain == made(tokens=tokens).text(0, 80).plain
    assert back.layouts == LAYOUTS
    assert bars(back.plot()) == bars(made(tokens=tokens).plot())
    assert (back.spans, back.tokens, back.method) == (SPANS, tokens, "attnlrp")
    for name in ("relevance", "input_ids", "target_ids", "logits", "attended"):
        assert torch.equal(getattr(back, name), getattr(made(), name))


def test_a_file_of_something_else_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"relevance": VALUES}, str(tmp_path / "other.safetensors"))
    with pytest.raises(ValueError, match=r"other\.safetensors is not an attribution, which Attribution\.save writes"):
        Attribution.load(tmp_path / "other.safetensors")


LAYOUT_KINDS = [
    ImageLayout("image", (1, 2, 5), (Tile(1, 2, (1, 2), None),), "why"),
    ImageLayout("image", (1, 2), (Tile(2, 1, (1, 2), (0.1, 0.25, 1.01, 1.0)),)),
    VideoLayout("video", (1, 2, 3), (Tile(1, 1, (1,)), Tile(1, 1, (2,))), 0.5),
    VideoLayout("image", (1,), (Tile(1, 1, (1,)),)),
    SoundLayout("audio", (1, 2), ((0, 4), (4, 7)), 0.01),
    SoundLayout("audio", (1, 2), ((0, 4), (4, 7))),
    UnknownLayout("audio", (1, 2), "why"),
]


@pytest.mark.parametrize("layout", LAYOUT_KINDS)
def test_layouts_are_saved(layout, tmp_path):
    found = one(layout)
    found.save(tmp_path / "a.safetensors")
    assert Attribution.load(tmp_path / "a.safetensors").layouts == [[layout]]


def test_files_without_layouts_are_read(tmp_path):
    import json

    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    made().save(tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        data = json.loads(file.metadata()["lime_xai"])
    del data["layouts"]
    tensors = load_file(tmp_path / "a.safetensors")
    save_file(tensors, tmp_path / "old.safetensors", metadata={"lime_xai": json.dumps(data)})
    assert [type(one) for row in Attribution.load(tmp_path / "old.safetensors").layouts for one in row] == [
        UnknownLayout,
        UnknownLayout,
    ]
