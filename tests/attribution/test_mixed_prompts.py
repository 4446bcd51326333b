"""One prompt with an image and a sound: shares, layouts, maps, pixels and reports of both."""

import json

import pytest
import torch
from matplotlib.text import Text
from support.mixed import MIXED
from support.words import numbered_tokenizer

import lime_xai
from lime_xai.model.layouts.layout import UnknownLayout
from lime_xai.report.explain import explain

TOKENIZER = numbered_tokenizer()
BUILT = [name for name in MIXED if name != "gemma3n"]
TILED = [name for name in BUILT if MIXED[name].laid_out == ("image", "audio")]


@pytest.mark.parametrize("family", BUILT)
def test_shares_sum_to_one_and_places_are_those_of_the_prompt(family):
    model, inputs, _ = MIXED[family].build()
    found = lime_xai.attribute(model, inputs, 20)
    weight = found.relevance[0].abs()
    wanted = {name: weight[slice(*places)].sum() / weight.sum() for name, places in MIXED[family].places.items()}
    wanted["text"] = 1 - sum(wanted.values())
    assert set(found.shares) == set(wanted)
    for name, share in wanted.items():
        assert float(share) > 1e-3
        torch.testing.assert_close(found.shares[name][0], share, atol=1e-5, rtol=1e-5)
    spans = {span.modality: (span.start, span.stop) for span in found.spans[0] if span.modality != "text"}
    assert spans == MIXED[family].places


@pytest.mark.parametrize("family", BUILT)
def test_layouts_of_both(family):
    mixed = MIXED[family]
    model, inputs, _ = mixed.build()
    layouts = {layout.modality: layout for layout in lime_xai.read_prompt(model, inputs).layouts[0]}
    assert list(layouts) == ["image", "audio"]
    for name, layout in layouts.items():
        assert layout.positions == tuple(range(*mixed.places[name]))
        assert isinstance(layout, UnknownLayout) is (name not in mixed.laid_out)
    if "image" in mixed.laid_out:
        (tile,) = layouts["image"].tiles
        assert (tile.rows, tile.columns) == (2, 2)
    if "audio" in mixed.laid_out:
        edges = [edge for frames in layouts["audio"].frames for edge in frames]
        assert edges[0] == 0
        assert edges[-1] == int(inputs["feature_attention_mask"].sum())
        assert edges == sorted(edges)
        assert edges[1:-1:2] == edges[2::2]


@pytest.mark.parametrize("family", BUILT)
def test_batches_equal_single_rows(family):
    model, joined, singles = MIXED[family].batch(2)
    together = lime_xai.attribute(model, joined, 20)
    for row, single in enumerate(singles):
        alone = lime_xai.attribute(model, single, 20)
        length = single["input_ids"].shape[1]
        torch.testing.assert_close(together.relevance[row, -length:], alone.relevance[0], atol=1e-4, rtol=1e-3)
        for name, share in alone.shares.items():
            torch.testing.assert_close(together.shares[name][row], share[0], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("family", TILED)
def test_maps_of_both_are_drawn(family):
    model, inputs, _ = MIXED[family].build()
    figure = lime_xai.attribute(model, inputs, [20, 21], processor=TOKENIZER).plot()
    shown = {text.get_text() for text in figure.findobj(Text)}
    for name in ("image", "audio"):
        assert any(text.startswith(f"relevance of the {name}: ") for text in shown), shown


@pytest.mark.parametrize("family", BUILT)
def test_pixels_and_spectrogram_both_have_relevance(family):
    model, inputs, _ = MIXED[family].build()
    encoder = None
    if family == "gemma4":  # attention of its audio tower is its own
        with pytest.raises(NotImplementedError, match="audio_tower"):
            lime_xai.attribute_pixels(model, inputs, 20)
        encoder = "gradient_input"
    found = lime_xai.attribute_pixels(model, inputs, 20, encoder=encoder)
    assert set(found.relevance) == {"pixel_values", "input_features"}
    for name, relevance in found.relevance.items():
        assert relevance.shape == inputs[name].shape
        assert float(relevance.abs().sum()) > 0
    whole = lime_xai.attribute(model, inputs, 20)
    torch.testing.assert_close(found.tokens.relevance, whole.relevance, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("family", TILED)
def test_an_explained_answer_shows_both(family, tmp_path):
    model, inputs, _ = MIXED[family].build()
    found = explain(model, inputs, processor=TOKENIZER, max_new_tokens=3, min_new_tokens=3, do_sample=False)
    for word in found.words:
        assert set(word.shares) == {"image", "audio", "prompt", "answer"}
        assert sum(word.shares.values()) == pytest.approx(1, abs=1e-5)
    page = tmp_path / "answer.html"
    found.to_html(page)
    text = page.read_text()
    assert json.dumps("audio") in text
    assert json.dumps("image") in text
