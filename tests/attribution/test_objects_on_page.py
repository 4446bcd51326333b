"""An object that is placed in a picture lies on the page where its relevance is drawn.

A white dot changes some embeddings of a model whose tower looks at each patch alone. The change of every embedding is
the relevance. On the page, cells with relevance must be those that show the dot, in the picture that the page holds.
"""

import base64
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from support.layout_families import CASES, background, dotted, embeddings

from lime_xai import Attribution
from lime_xai.model.prompt import read_prompt

SHAPES = {"square": (120, 120), "wide": (168, 84), "tall": (84, 168)}
BRIGHT = 60
"""Grey levels above the background from which a cell shows the dot."""

FAMILIES = ("llava", "llava_next", "llava_pixtral", "mistral3", "qwen2_5_vl", "internvl", "gemma3", "idefics3")


def attributed(name, size, place):
    """An attribution of a dotted picture whose relevance is what the dot changes."""
    case = CASES[name]
    model, processor = case.build()
    plain = background(size, 3)
    dot = dotted(plain, *place, (size[0] / 14, size[1] / 14))
    before, after = (embeddings(model, case.inputs(processor, [[one]])) for one in (plain, dot))
    prompt = read_prompt(model, case.inputs(processor, [[dot]]), processor=processor)
    change = (after - before).abs().sum(-1)
    return Attribution(
        relevance=change,
        input_ids=prompt.positions.input_ids,
        target_ids=torch.tensor([[5]]),
        logits=change.sum(-1),
        attended=prompt.positions.attended,
        spans=prompt.positions.spans,
        method="change",
        layouts=prompt.layouts,
        received=prompt.received,
    )


def cells(view):
    """Positions and places of the cells of a view, as the page's script finds them."""
    for tile in view["tiles"]:
        x0, y0, x1, y1 = tile["box"]
        wide, tall = (x1 - x0) / tile["columns"], (y1 - y0) / tile["rows"]
        positions = [start + n for start, count in tile["positions"] for n in range(count)]
        for number, position in enumerate(positions):
            down, across = divmod(number, tile["columns"])
            x, y = x0 + across * wide, y0 + down * tall
            yield position, (x, y, x + wide, y + tall)


def brightness(picture, place):
    """Largest grey level of a part of a picture, without its edge; None if nothing is left of it."""
    height, width = picture.shape
    x0, y0, x1, y1 = place
    down = slice(max(0, round(y0 * height) + 1), max(0, round(y1 * height) - 1))
    across = slice(max(0, round(x0 * width) + 1), max(0, round(x1 * width) - 1))
    part = picture[down, across]
    return float(part.max()) if part.size else None


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("place", [(0.3, 0.35), (0.7, 0.6)])
def test_the_object_is_where_the_page_draws_it(name, shape, place):
    found = attributed(name, SHAPES[shape], place)
    page = found.to_html()
    (section,) = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])["entries"][0]["answers"]
    relevance = np.frombuffer(base64.b64decode(section["relevance"]), "<i2") * section["scales"][0]
    shown = 0
    for view in section["items"][0]["views"]:
        picture = Image.open(io.BytesIO(base64.b64decode(view["source"].partition(",")[2]))).convert("L")
        levels = np.asarray(picture, dtype=float)
        seen = [(brightness(levels, where), relevance[position]) for position, where in cells(view)]
        inside = [pair for pair in seen if pair[0] is not None]
        usual = np.median(levels)
        brightest = max(inside)
        if brightest[0] > usual + BRIGHT:
            shown += 1
            assert brightest[1] > 0
        for level, value in inside:
            assert value > 0 or level < usual + BRIGHT
    assert shown
