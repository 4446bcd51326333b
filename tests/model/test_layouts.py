"""Layouts say where the tokens of a picture lie: dots drawn into pictures show which embeddings they change."""

import numpy as np
import pytest
import torch
from support.layout_families import CASES as PROCESSOR_CASES
from support.layout_families import background, dotted, embeddings
from support.layout_grid_families import GRID_CASES
from support.recordings import positions_of

from lime_xai.model.layouts import read_layouts

CASES = PROCESSOR_CASES | GRID_CASES
DOTS = 3
MARGIN = 0.15
"""A dot this near to the edge of a token, as a fraction of the token, may change its neighbour more."""


def cell_of(tile, x, y):
    """The token of a tile at a point of the picture; None outside or too near to an edge."""
    x0, y0, x1, y1 = tile.box
    place = np.array([(y - y0) / (y1 - y0) * tile.rows, (x - x0) / (x1 - x0) * tile.columns])
    inside = (place >= 0).all() and (place < tile.grid).all()
    if not inside or (abs(place - place.round()) < MARGIN).any():
        return None
    row, column = place.astype(int)
    return tile.positions[row * tile.columns + column]


def setting(name):
    case = CASES[name]
    model, processor = case.build()
    pictures = [[background(size, 10 * i + j) for j, size in enumerate(row)] for i, row in enumerate(case.sizes)]
    inputs = case.inputs(processor, pictures)
    layouts = read_layouts(model.config, inputs, positions_of(model, inputs), processor)
    return case, model, processor, pictures, inputs, layouts


def cover_once(layouts, positions):
    """Every perceptual position is in one layout, and there in one tile or in none."""
    for row, spans in zip(layouts, positions.spans, strict=True):
        seen = [position for layout in row for position in layout.positions]
        assert sorted(seen) == [p for s in spans if s.modality != "text" for p in range(s.start, s.stop)]
        for layout in row:
            placed = [position for tile in layout.tiles for position in tile.positions]
            assert sorted([*placed, *layout.unplaced]) == list(layout.positions)


@pytest.mark.parametrize("name", CASES)
def test_a_dot_in_a_picture_changes_the_token_that_lies_there(name):
    case, model, processor, pictures, inputs, layouts = setting(name)
    cover_once(layouts, positions_of(model, inputs))
    if case.placed:
        assert [len(row) for row in layouts] == [len(row) for row in pictures]
    before = embeddings(model, inputs)
    generator = np.random.default_rng(7)
    checked = 0
    for index, row in enumerate(pictures):
        for number, picture in enumerate(row):
            if not case.placed and len(layouts[index]) != len(row):
                continue  # crops are pictures of their own
            layout = layouts[index][number]
            finest = max(
                (tile for tile in layout.tiles if tile.box), key=lambda tile: tile.rows * tile.columns, default=None
            )
            if finest is None:
                continue
            width, height = finest.box[2] - finest.box[0], finest.box[3] - finest.box[1]
            radius = picture.width * width / finest.columns / 2, picture.height * height / finest.rows / 2
            inside = [c for c in finest.centres().tolist() if 0.02 < c[0] < 0.98 and 0.02 < c[1] < 0.98]
            for place in generator.permutation(len(inside))[:DOTS]:
                x, y = inside[place]
                changed = [[*one] for one in pictures]
                changed[index][number] = dotted(picture, x, y, radius)
                after = embeddings(model, case.inputs(processor, changed))
                change = (after - before).abs().sum(-1)
                checked += check(layout, change, index, x, y)
    assert checked or not case.placed


def check(layout, change, row, x, y):
    """The tokens of the point change most in their tiles; nothing changes outside the picture's tiles."""
    outside = torch.ones_like(change, dtype=torch.bool)
    outside[row, list(layout.positions)] = False
    assert not change[outside].any()
    assert not change[row, list(layout.unplaced)].any()
    checked = 0
    for tile in layout.tiles:
        if tile.box is not None and (wanted := cell_of(tile, x, y)) is not None:
            found = tile.positions[int(change[row, list(tile.positions)].argmax())]
            assert found == wanted, (tile.grid, tile.box, (x, y))
            checked += 1
    return checked


@pytest.mark.parametrize("name", CASES)
def test_every_place_is_known_or_its_reason_is_said(name):
    case, _, _, _, _, layouts = setting(name)
    for layout in (layout for row in layouts for layout in row):
        assert type(layout).__name__ == "ImageLayout"
        assert (layout.reason is None) == all(tile.box is not None for tile in layout.tiles)
    assert case.placed == all(layout.reason is None for row in layouts for layout in row)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.placed])
def test_tiles_of_unknown_place_are_in_the_order_of_the_pixels(name):
    _, model, _, _, inputs, layouts = setting(name)
    before = embeddings(model, inputs)
    tiles = [(row, tile) for row, found in enumerate(layouts) for layout in found for tile in layout.tiles]
    assert len(tiles) == len(inputs["pixel_values"])
    for number, (row, tile) in enumerate(tiles):
        pixels = inputs["pixel_values"].clone()
        height, width = pixels.shape[-2] // tile.rows, pixels.shape[-1] // tile.columns
        down, across = number % tile.rows, (number + 1) % tile.columns
        pixels[number, :, down * height : (down + 1) * height, across * width : (across + 1) * width] += 2.0
        change = (embeddings(model, inputs | {"pixel_values": pixels}) - before).abs().sum(-1)
        found = divmod(int(change.argmax()), change.shape[1])
        assert found == (row, tile.positions[down * tile.columns + across])
