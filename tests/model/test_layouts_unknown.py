"""Where a layout cannot be known, it is unknown and says why; the functions that need it refuse by name."""

import importlib.util
from pathlib import Path

import pytest
import torch
from support.every_family import FURTHER
from support.families import FAMILIES
from support.layout_families import CASES, background
from support.layout_grid_families import GRID_CASES
from support.layout_sounds import SOUNDS
from support.recordings import text_model
from support.versions import RECORDED
from transformers import CONFIG_MAPPING

import lime_xai
from lime_xai.attribution.regions import box_groups
from lime_xai.model.layouts import LAYOUTS, NotKnown, read_layouts, register_layout
from lime_xai.model.layouts.layout import ImageLayout, Tile, UnknownLayout, VideoLayout, layout_from_dict, with_grid
from lime_xai.model.positions import read_positions

LEFT_AND_RIGHT = [(0, 0, 0.5, 1), (0.5, 0, 1, 1)]


def llava(**changes):
    model, inputs, _ = FAMILIES["llava"].build()
    return model, inputs | changes


def layouts_of(model, inputs, **options):
    return lime_xai.read_prompt(model, inputs, **options).layouts


def test_a_mask_of_the_users_own_has_no_layout_unless_it_is_that_of_the_placeholders():
    model, inputs = llava()
    placeholders = inputs["input_ids"] == 99
    ((known,),) = layouts_of(model, inputs, perceptual=placeholders)
    assert isinstance(known, ImageLayout)
    other = placeholders.clone()
    other[0, 1] = True
    first, second = layouts_of(model, inputs, perceptual=other)[0]
    assert first.reason == second.reason == "the positions are a mask of the caller's own (perceptual=)"
    assert first.positions == (1,)
    prompt = lime_xai.read_prompt(model, inputs, perceptual=other)
    with pytest.raises(ValueError, match=r"layout of image 1 is not known: .*perceptual=.* Give grid="):
        box_groups(prompt, LEFT_AND_RIGHT, image=1)
    assert box_groups(prompt, LEFT_AND_RIGHT, image=1, grid=(2, 2)).ids[list(second.positions)].tolist() == [0, 1, 0, 1]


def test_embeddings_have_no_layout():
    model, inputs = llava()
    embeds = model.get_input_embeddings()(inputs["input_ids"])
    ((layout,),) = layouts_of(model, {"inputs_embeds": embeds}, perceptual=inputs["input_ids"] == 99)
    assert isinstance(layout, UnknownLayout)


def test_a_text_only_model_has_no_layouts():
    model, inputs = text_model()
    assert layouts_of(model, inputs) == [[]]
    assert lime_xai.attribute(model, inputs).layouts == [[]]


def test_a_family_that_is_not_registered_says_so():
    model, inputs = llava()
    model.config.model_type = "my_llava"
    ((layout,),) = layouts_of(model, inputs)
    assert layout == UnknownLayout("image", (4, 5, 6, 7), "no layout of image tokens is registered for 'my_llava'")


def test_families_from_outside_are_registered_once():
    model, inputs = llava()
    model.config.model_type = "my_llava"
    try:

        @register_layout("my_llava")
        def columns(reading):
            return [ImageLayout(reading.modality, tuple(range(4)), (Tile(4, 1, (3, 2, 1, 0)),))]

        ((layout,),) = layouts_of(model, inputs)
        assert layout.tiles[0].positions == (7, 6, 5, 4)
        assert lime_xai.attribute(model, inputs).layouts == [[layout]]
        with pytest.raises(ValueError, match="my_llava has a layout of its image tokens already"):
            register_layout("my_llava")(columns)
    finally:
        del LAYOUTS["my_llava", "image"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pixel_values": torch.zeros(2, 3, 28, 28)}, "4 tokens for 2 images are not 2 x 2 patches each"),
        ({"pixel_values": torch.zeros(1, 3, 56, 28)}, "4 tokens for 1 images are not 4 x 2 patches each"),
        ({"pixel_values": [torch.zeros(3, 28, 28)]}, "the inputs hold no pixel_values"),
        ({"image_sizes": torch.tensor([[28, 28]] * 2)}, "the inputs hold 1 more images than the prompt has tokens for"),
        ({"image_sizes": torch.tensor([[28, 42]])}, "the 4 image tokens of row 0 are not those that the inputs "),
    ],
)
def test_inputs_that_do_not_fit_the_prompt_have_no_layout(changes, reason):
    model, inputs = llava()
    ((layout,),) = read_layouts(model.config, inputs | changes, read_positions(model.config, inputs["input_ids"]))
    assert isinstance(layout, UnknownLayout)
    assert layout.reason.startswith(reason)


@pytest.mark.parametrize("name", ["idefics3", "lfm2_vl", "aya_vision", "cohere2_vision"])
def test_markers_of_tiles_are_read_by_a_processor_only(name):
    """Without it, a run of tokens is a part of some picture; a run that is alone in its row is a whole picture."""
    case = CASES[name]
    model, processor = case.build()
    pictures = [[background(size, 3) for size in row] for row in case.sizes]
    inputs = case.inputs(processor, pictures)
    without = layouts_of(model, inputs)
    known = layouts_of(model, inputs, processor=processor)
    for row, runs in zip(without, lime_xai.read_prompt(model, inputs).positions.spans, strict=True):
        count = sum(span.modality == "image" for span in runs)
        assert len(row) == count
        for layout in row:
            (tile,) = layout.tiles
            assert (tile.box is not None) == (count == 1)
            assert (layout.reason is None) == (count == 1)
    tiles = [[tile.positions for layout in row for tile in layout.tiles] for row in known]
    assert [[tile.positions for layout in row for tile in layout.tiles] for row in without] == tiles


def test_an_image_run_of_the_issue_is_read_rightly():
    """A Pixtral image of 4 x 4 tokens with break tokens between its rows, which are runs of their own."""
    model, _, _ = FAMILIES["llava_pixtral"].build()
    row = [99] * 4
    ids = torch.tensor([[1, 5, *row, 90, *row, 90, *row, 90, *row, 91, 7]])
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": torch.randn(1, 3, 56, 56),
        "image_sizes": torch.tensor([[56, 56]]),
    }
    found = lime_xai.attribute(model, inputs)
    ids = box_groups(found, LEFT_AND_RIGHT).ids
    assert ids[found.mask("image")[0]].tolist() == [0, 0, 1, 1] * 4
    assert set(ids[~found.mask("image")[0]].tolist()) == {-1}


def test_tiles_in_one_run_are_no_larger_square():
    model, _, _ = FAMILIES["internvl"].build()
    ids = torch.tensor([[1, 5, 6, *[99] * 16, 7, 8]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": torch.randn(4, 3, 56, 56)}
    found = lime_xai.attribute(model, inputs)
    ((layout,),) = found.layouts
    assert [tile.grid for tile in layout.tiles] == [(2, 2)] * 4
    with pytest.raises(ValueError, match="layout of image 0 is not known: the inputs do not say of which part"):
        box_groups(found, LEFT_AND_RIGHT)


def test_a_reason_is_known_for_resamplers():
    reasons = {}
    for name in ("idefics2", "instructblip", "mllama"):
        with pytest.raises(NotKnown) as found:
            LAYOUTS[name, "image"](None)
        reasons[name] = str(found.value)
    assert "resampler" in reasons["idefics2"]
    assert "cross-attention" in reasons["mllama"]


@pytest.mark.skipif(not RECORDED, reason="another release of transformers may lack some of the families")
def test_every_registered_name_is_a_model_type():
    assert {name for name, _ in LAYOUTS} <= set(CONFIG_MAPPING)


@pytest.mark.parametrize("name", ["blip_2", "instructblip", "instructblipvideo"])
def test_tokens_of_a_resampler_are_told_so(name):
    model, inputs, _ = FURTHER[name].build()
    ((layout,),) = layouts_of(model, inputs)
    assert layout.reason == "every token is read from the whole picture by a resampler"


def test_layouts_refuse_what_they_are_not():
    with pytest.raises(ValueError, match="A tile of 2 x 2 tokens has 3 positions"):
        Tile(2, 2, (0, 1, 2))
    with pytest.raises(ValueError, match="The place of this tile in the picture is not known"):
        Tile(1, 1, (0,), None).centres()
    with pytest.raises(ValueError, match="The kind of a layout is 'Cube'"):
        layout_from_dict({"kind": "Cube", "modality": "image", "positions": []})
    video = VideoLayout("video", (3, 4), (Tile(1, 2, (3, 4)),))
    assert with_grid(video, (2, 1)).tiles[0].grid == (2, 1)
    assert video.at([0, 0, 0, 7, 9]).frames[0].positions == (7, 9)


def test_the_table_of_the_docs_is_that_of_the_registry():
    """``python docs/layout_table.py`` writes it."""
    path = Path(__file__).parents[2] / "docs" / "layout_table.py"
    spec = importlib.util.spec_from_file_location("layout_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.PAGE.read_text(encoding="utf-8")
    assert module.written(page) == page


def test_every_registered_layout_is_checked_against_its_model():
    images = {CASES[name].build()[0].config.model_type for name in CASES} | set(GRID_CASES)
    mixed = {name for (name, _), function in LAYOUTS.items() if function.__doc__.startswith("Unknown")}
    assert {name for name, modality in LAYOUTS if modality == "image"} - mixed == images
    sounds = {case.build()[0].config.model_type for case in SOUNDS.values()} | {"granite_speech"}
    assert {name for name, modality in LAYOUTS if modality == "audio"} == sounds
