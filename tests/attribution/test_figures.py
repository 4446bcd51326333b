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
from lime_xai.attribution.figure import attribution_figure

TOKENS = [["<s>", "im", "im", "im", "im", "a", "b"], ["<pad>", "<s>", "im", "im", "c", "d", "e"]]
VALUES = torch.tensor([[0.5, 1.0, -2.0, 0.25, 4.0, -1.0, 0.0], [9.0, 0.1, 3.0, -1.0, 0.2, -0.3, 0.4]])
SPANS = [
    [Span("text", 0, 1), Span("image", 1, 5), Span("text", 5, 7)],
    [Span("text", 1, 2), Span("image", 2, 4), Span("text", 4, 7)],
]


def made(relevance=VALUES, tokens=TOKENS, spans=SPANS):
    attended = torch.ones(2, 7, dtype=torch.bool)
    attended[1, 0] = False
    relevance = relevance * (attended if relevance.dim() == 2 else attended[:, None])
    return Attribution(
        relevance=relevance,
        input_ids=torch.arange(14).reshape(2, 7),
        target_ids=torch.tensor([[3], [4]]),
        logits=relevance.sum(-1),
        attended=attended,
        spans=spans,
        method="attnlrp",
        tokens=tokens,
    )


def parts(figure):
    """The axes with the tiles of what is perceived, and the axes with the bars of the text."""
    (perceived,) = [axes for axes in figure.axes if tiles_of(axes)]
    (text,) = [axes for axes in figure.axes if axes.patches]
    return perceived, text


def tiles_of(axes):
    return [image for image in axes.images if np.asarray(image.get_array()).ndim == 2]


def grid_of(figure):
    (tiles,) = tiles_of(parts(figure)[0])
    return np.asarray(tiles.get_array()).tolist()


def bars(figure):
    return [patch.get_width() for patch in parts(figure)[1].patches]


def labels(figure):
    return [label.get_text() for label in parts(figure)[1].get_yticklabels()]


def cells(attribution, row=0, columns=None):
    """Lines of the shaded grid: those between the headline of the image and the next text token."""
    lines = attribution.text(row, columns).plain.splitlines()
    (start,) = [index for index, line in enumerate(lines) if "image: " in line]
    return [line for line in lines[start + 1 :] if not any(letter.isalnum() for letter in line)]


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
    assert "image" in perceived.get_title()
    assert f"{float(wanted.sum()):+.2f}" in perceived.get_title()
    assert "text" in text.get_title()
    assert f"{float(VALUES[row, read].sum()):+.2f}" in text.get_title()


def test_colours_are_symmetric_so_that_zero_is_white():
    (tiles,) = tiles_of(parts(made().plot())[0])
    assert tiles.get_clim() == (-4.0, 4.0)


def test_positive_and_negative_bars_differ_in_colour():
    colours = [patch.get_facecolor() for patch in parts(made().plot(1))[1].patches]
    assert colours[0] == colours[1] == colours[3]
    assert colours[2] != colours[0]


def test_the_picture_is_shown_if_it_is_given():
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    for given in (picture, Image.fromarray(picture)):
        figure = attribution_figure(made().row(0), given)
        shown = [np.asarray(image.get_array()) for axes in figure.axes for image in axes.images]
        assert any(array.shape == picture.shape and np.array_equal(array, picture) for array in shown)
        assert grid_of(figure) == grid_of(made().plot())


def test_a_grid_may_be_given_and_must_fit():
    assert grid_of(made().plot(grid=(1, 4))) == [VALUES[0, 1:5].tolist()]
    with pytest.raises(ValueError, match=r"grid \(2, 3\) has 6 cells, the row 4 perceptual tokens"):
        made().plot(grid=(2, 3))


def test_three_tokens_leave_one_cell_of_a_square_empty():
    spans = [[Span("text", 0, 1), Span("audio", 1, 4), Span("text", 4, 7)], SPANS[1]]
    figure = made(spans=spans).plot()
    assert grid_of(figure) == [[1.0, -2.0], [0.25, 0.0]]
    assert "audio" in parts(figure)[0].get_title()


def test_a_text_only_row_is_drawn():
    figure = made(spans=[[Span("text", 0, 7)], SPANS[1]]).plot()
    assert bars(figure) == pytest.approx(VALUES[0].tolist())
    assert "nothing perceived" in parts(figure)[0].get_title()
    assert "the nothing" not in parts(figure)[0].get_title()


def test_an_answer_is_summed_over_its_tokens():
    answer = torch.stack([VALUES, 2 * VALUES, -0.5 * VALUES], 1)
    figure, single = made(answer).plot(), made(2.5 * VALUES).plot()
    assert bars(figure) == pytest.approx(bars(single))
    assert grid_of(figure) == grid_of(single)
    assert made(answer).text().plain == made(2.5 * VALUES).text().plain


def test_ids_stand_in_for_missing_labels():
    assert labels(made(tokens=None).plot(1)) == ["8", "11", "12", "13"]
    assert made(tokens=None).text(1).plain.startswith("8 +0.10")


def test_figures_are_written_as_png(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made().plot(image=np.zeros((4, 4, 3), np.uint8)).savefig(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] > picture.size[1] > 100


def test_text_shows_every_number_and_a_grid_of_shades():
    found = made().text()
    words = " ".join(found.plain.split())
    for part in ("<s> +0.50", "image: 4 tokens", "+3.25", "a -1.00 b +0.00"):
        assert part in words
    assert cells(made()) == ["░░▒▒", "  ██"]
    styles = [(found.plain[span.start : span.end], span.style) for span in found.spans]
    for part, style in (("+0.50 ", "green"), ("-1.00 ", "red"), ("▒▒", "red"), ("██", "green"), ("░░", "green")):
        assert (part, style) in styles


def test_text_wraps_at_the_columns_asked_for():
    assert [len(line) for line in cells(made(), columns=3)] == [6, 2]


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
    assert back.text().plain == made(tokens=tokens).text().plain
    assert bars(back.plot()) == bars(made(tokens=tokens).plot())
    assert (back.spans, back.tokens, back.method) == (SPANS, tokens, "attnlrp")
    for name in ("relevance", "input_ids", "target_ids", "logits", "attended"):
        assert torch.equal(getattr(back, name), getattr(made(), name))


def test_a_file_of_something_else_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"relevance": VALUES}, str(tmp_path / "other.safetensors"))
    with pytest.raises(ValueError, match=r"other\.safetensors is not an attribution, which Attribution\.save writes"):
        Attribution.load(tmp_path / "other.safetensors")
