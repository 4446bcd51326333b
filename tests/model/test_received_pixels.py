"""Patches and tiles are put back: loops over pixels are the oracle."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lime_xai.model.layouts.layout import ImageLayout, Tile, VideoLayout
from lime_xai.model.layouts.pictures import _composed, _inside
from lime_xai.model.layouts.pixels import image_parts, video_parts
from lime_xai.model.layouts.reading import NotKnown, Reading

SMALL = st.integers(1, 3)


def reading(model_type, inputs, merge=1, side=(2, 2)):
    vision = SimpleNamespace(patch_size=side, spatial_merge_size=merge)
    config = SimpleNamespace(model_type=model_type, vision_config=vision)
    return Reading(config, inputs, None, "image")


def whole(rows=1, columns=1):
    return Tile(rows, columns, tuple(range(rows * columns)))


@given(frames=SMALL, rows=SMALL, columns=SMALL, merge=SMALL, times=SMALL, height=SMALL, width=SMALL)
def test_patches_in_blocks(frames, rows, columns, merge, times, height, width):
    """Frame, block row, block column, row and column in the block; then channel, time, pixel row and column."""
    down, across = rows * merge, columns * merge
    video = torch.rand(frames, times, 3, down * height, across * width)
    patches = [
        video[f, :, :, y * height : (y + 1) * height, x * width : (x + 1) * width].transpose(0, 1).flatten()
        for f in range(frames)
        for top in range(rows)
        for left in range(columns)
        for y in range(top * merge, (top + 1) * merge)
        for x in range(left * merge, (left + 1) * merge)
    ]
    inputs = {
        "pixel_values_videos": torch.stack(patches),
        "video_grid_thw": torch.tensor([[frames, down, across]]),
    }
    layout = VideoLayout("video", tuple(range(frames)), tuple(Tile(1, 1, (n,)) for n in range(frames)))
    (parts,), count = video_parts(reading("qwen2_vl", inputs, merge, (height, width)), [layout])
    assert count == times
    assert torch.equal(torch.stack([part.pixels for part in parts]), video[:, 0])


@given(sizes=st.lists(st.tuples(SMALL, SMALL), min_size=1, max_size=3), height=SMALL, width=SMALL, last=st.booleans())
def test_patches_row_by_row(sizes, height, width, last):
    """Several pictures one after another; channels first (Kimi), or last and padded to one number (LFM2-VL)."""
    pictures = [torch.rand(3, rows * height, columns * width) for rows, columns in sizes]
    patches = [
        [
            picture[:, y * height : (y + 1) * height, x * width : (x + 1) * width]
            for y in range(rows)
            for x in range(columns)
        ]
        for picture, (rows, columns) in zip(pictures, sizes, strict=True)
    ]
    if last:
        rows = [torch.stack([one.permute(1, 2, 0).flatten() for one in some]) for some in patches]
        inputs = {
            "pixel_values": torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=9.0),
            "spatial_shapes": torch.tensor(sizes),
        }
    else:
        inputs = {
            "pixel_values": torch.stack([one for some in patches for one in some]),
            "image_grid_thw": torch.tensor([(1, *size) for size in sizes]),
        }
    layouts = [ImageLayout("image", (0,), (whole(),)) for _ in sizes]
    found = image_parts(reading("lfm2_vl" if last else "kimi_k25", inputs, side=(height, width)), layouts)
    for picture, (part,) in zip(pictures, found, strict=True):
        assert torch.equal(part.pixels, picture)


@given(rows=SMALL, columns=SMALL, seed=st.integers(0, 99))
def test_patches_at_positions_in_any_order(rows, columns, seed):
    picture = torch.rand(3, rows * 2, columns * 2)
    places = [(x, y) for y in range(rows) for x in range(columns)] + [(-1, -1)] * 2
    order = np.random.default_rng(seed).permutation(len(places))
    patches = [
        torch.zeros(12) if x < 0 else picture[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].permute(1, 2, 0).flatten()
        for x, y in (places[n] for n in order)
    ]
    inputs = {
        "pixel_values": torch.stack(patches)[None],
        "image_position_ids": torch.tensor([[places[n] for n in order]]),
    }
    ((part,),) = image_parts(reading("gemma4", inputs), [ImageLayout("image", (0,), (whole(),))])
    assert torch.equal(part.pixels, picture)


def test_positions_that_fill_no_rectangle_have_a_reason():
    inputs = {
        "pixel_values": torch.zeros(1, 4, 12),
        "image_position_ids": torch.tensor([[[0, 0], [1, 0], [0, 1], [0, 1]]]),
    }
    with pytest.raises(NotKnown, match="image_position_ids do not fill 2 x 2 patches"):
        image_parts(reading("gemma4", inputs), [ImageLayout("image", (0,), (whole(),))])
    inputs["image_position_ids"] = torch.full((1, 4, 2), -1)
    with pytest.raises(NotKnown, match="image_position_ids do not fill 0 x 0 patches"):
        image_parts(reading("gemma4", inputs), [ImageLayout("image", (0,), (whole(),))])


@given(down=st.integers(1, 4), across=st.integers(1, 4), height=st.integers(1, 6), width=st.integers(1, 6))
def test_tiles_at_their_boxes_are_the_picture(down, across, height, width):
    picture = np.random.default_rng(0).integers(0, 256, (down * height, across * width, 3), np.uint8)
    parts = [
        (
            picture[y * height : (y + 1) * height, x * width : (x + 1) * width],
            (x / across, y / down, (x + 1) / across, (y + 1) / down),
        )
        for y in range(down)
        for x in range(across)
    ]
    found, complete = _composed([_inside(*part) for part in parts])
    assert complete
    assert np.array_equal(found, picture)


@given(
    before=st.integers(0, 9), after=st.integers(0, 9), above=st.integers(0, 9), below=st.integers(0, 9),
    height=st.integers(1, 30), width=st.integers(1, 30),
)  # fmt: skip
def test_padding_around_a_picture_is_cut(before, after, above, below, height, width):
    picture = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    padded = np.pad(picture, ((above, below), (before, after), (0, 0)))
    box = -before / width, -above / height, 1 + after / width, 1 + below / height
    found, complete = _composed([_inside(padded, box)])
    assert complete
    assert np.array_equal(found, picture)
