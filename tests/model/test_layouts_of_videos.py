"""Layouts say which frame and which part of it a video token stands for: a dot in one frame shows which it changes."""

import pytest
import torch
from PIL import Image
from support import layout_families as images
from support.layout_families import Case, background, dotted, embeddings
from support.layout_grid_families import GRID_CASES
from support.layout_videos import FRAMES, QWEN, VIDEOS, VideoCase, inputs_of
from support.recordings import positions_of

from lime_xai.model.layouts import read_layouts
from lime_xai.model.layouts.layout import VideoLayout


@pytest.mark.parametrize("name", VIDEOS)
def test_a_dot_in_a_frame_changes_the_token_that_lies_there(name):
    case = VIDEOS[name]
    model, processor = Case(case.make, ()).build()
    # Every other picture is dark: compression (VideoLLaMA 3) removes what is like the picture before.
    frames = [background(case.size, 3).point(lambda v, n=n: v - 80 * (n % 2)) for n in range(FRAMES)]
    inputs = inputs_of(case, processor, frames)
    ((layout,),) = read_layouts(model.config, inputs, positions_of(model, inputs), processor)
    assert isinstance(layout, VideoLayout)
    assert len(layout.frames) == FRAMES // case.per
    before = embeddings(model, inputs)
    for number, tile in enumerate(layout.frames):
        place = (5 * number + 1) % len(tile.positions)
        x, y = tile.centres()[place].tolist()
        radius = case.size[0] / tile.columns / 2, case.size[1] / tile.rows / 2
        changed = list(frames)
        for picture in range(case.per):
            changed[number * case.per + picture] = dotted(frames[number * case.per + picture], x, y, radius)
        change = (embeddings(model, inputs_of(case, processor, changed)) - before).abs().sum(-1)[0]
        assert int(change.argmax()) == tile.positions[place]
        change[list(tile.positions)] = 0
        assert not change.any()


GRIDS = images.CASES | GRID_CASES
THW = {
    name: GRIDS[name].make
    for name in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe", "exaone4_5")
}
THW |= {name: GRIDS[name].make for name in ("qwen2_5_omni_thinker", "qwen3_omni_moe_thinker")}
GLM = {name: GRIDS[name].make for name in ("glm4v", "glm4v_moe", "glm46v", "glm_ocr")}


def thw_inputs(model, name, frames=3, rows=2, columns=3):
    """A prompt of one video of frames of 2 x 3 tokens, four patches to a token, in the order of the tokens."""
    config = model.config
    if name in GLM:
        frame = [config.image_start_token_id, *[config.image_token_id] * rows * columns, config.image_end_token_id]
        ids = [1, config.video_start_token_id, *frame * frames, config.video_end_token_id, 7]
        pad = config.image_token_id
    else:
        pad = config.video_token_id
        split = frames if name.startswith("qwen3_") and "omni" not in name else 1  # a run of tokens per frame
        ids = [1, *[95, *[pad] * (frames * rows * columns // split), 96] * split, 7]
    edge = config.vision_config.patch_size
    found = {
        "input_ids": torch.tensor([ids]),
        "pixel_values_videos": torch.randn(4 * frames * rows * columns, 3 * 2 * edge * edge),
        "video_grid_thw": torch.tensor([[frames, 2 * rows, 2 * columns]]),
    }
    found["attention_mask"] = torch.ones_like(found["input_ids"])
    if "omni" in name:
        found["video_second_per_grid"] = torch.tensor([1.0])
    elif name != "exaone4_5":
        found["mm_token_type_ids"] = torch.where(found["input_ids"] == pad, 2, 0)
    return found


@pytest.mark.parametrize("name", THW | GLM)
def test_patches_of_a_video_are_in_the_order_of_its_tokens(name):
    model, _ = Case((THW | GLM)[name], ()).build()
    inputs = thw_inputs(model, name)
    ((layout,),) = read_layouts(model.config, inputs, positions_of(model, inputs))
    assert [tile.grid for tile in layout.frames] == [(2, 3)] * 3
    before = embeddings(model, inputs)
    order = [position for tile in layout.frames for position in tile.positions]
    for token in (0, 4, 7, 17):
        pixels = inputs["pixel_values_videos"].clone()
        pixels[4 * token : 4 * token + 4] += 3.0
        change = (embeddings(model, inputs | {"pixel_values_videos": pixels}) - before).abs().sum(-1)[0]
        assert change.nonzero()[:, 0].tolist() == [order[token]]


def test_strided_frames_of_llava_next_video():
    model, _ = Case(images._llava_next_video, ()).build()
    ids = torch.tensor([[1, *[100] * 12, 7]])
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values_videos": torch.randn(1, 3, 3, 56, 56),
    }
    ((layout,),) = read_layouts(model.config, inputs, positions_of(model, inputs))
    assert [tile.grid for tile in layout.frames] == [(2, 2)] * 3
    before = embeddings(model, inputs)
    for number, tile in enumerate(layout.frames):
        pixels = inputs["pixel_values_videos"].clone()
        pixels[0, number, :, 28 * (number % 2) : 28 * (number % 2) + 28, 28:] += 3.0
        change = (embeddings(model, inputs | {"pixel_values_videos": pixels}) - before).abs().sum(-1)[0]
        assert change.nonzero()[:, 0].tolist() == [tile.positions[2 * (number % 2) + 1]]


def test_a_compressed_video_has_no_layout():
    case = VIDEOS["video_llama_3"]
    model, processor = Case(case.make, ()).build()
    inputs = inputs_of(case, processor, [background(case.size, 3)] * FRAMES)
    (layouts,) = read_layouts(model.config, inputs, positions_of(model, inputs))
    assert {layout.reason for layout in layouts} == {
        "video_compression_mask removes tokens of frames that are like the frame before"
    }


def test_seconds_per_frame_are_read_from_the_inputs():
    model, processor = Case(images._qwen2_5_vl, ()).build()
    case = VideoCase(images._qwen2_5_vl, QWEN)
    inputs = inputs_of(case, processor, [Image.new("RGB", case.size)] * FRAMES)
    ((silent,),) = read_layouts(model.config, inputs, positions_of(model, inputs))
    assert silent.seconds is None
    inputs["second_per_grid_ts"] = torch.tensor([0.5])
    ((layout,),) = read_layouts(model.config, inputs, positions_of(model, inputs))
    assert (len(layout.frames), layout.seconds) == (2, 0.5)
