"""Maps of relevance show an object where it is: weights are set so that one region carries the logit."""

import numpy as np
import pytest
import torch
from PIL import Image
from support.layout_families import CASES, background, embeddings
from support.layout_sounds import SOUNDS
from support.layout_videos import FRAMES, QWEN, VideoCase, inputs_of
from test_figures import maps, tiles_of

import lime_xai

TOKEN = 10
"""Not in the prompts: where embeddings are tied to the head, its embedding changes."""
RED = (255, 0, 0)
MIDDLE = (0.3, 0.62)
PICTURES = ("llava", "llava_next", "qwen2_5_vl", "internvl", "llava_pixtral", "gemma3")


def with_object(picture, place, part=1 / 6):
    """The picture with a red disc at fractions ``x, y``; its radius is a part of the shorter side."""
    width, height = picture.size
    down, across = np.mgrid[0:height, 0:width] + 0.5
    inside = np.hypot(across - place[0] * width, down - place[1] * height) < part * min(width, height)
    return Image.fromarray(np.where(inside[..., None], np.uint8(RED), np.asarray(picture)))


@torch.no_grad()
def carry(model, changed, dotted, inputs):
    """Let the logit of ``TOKEN`` rest on the position that the middle of an object changes most; returns the position.

    ``inputs`` are without the object, ``changed`` with it, ``dotted`` with its middle only.

    All layers but one pass their input on. That one attends everything alike and reads one direction of the normalised
    embeddings: the one in which the position is farthest from all others (its leverage).
    """
    position = int((embeddings(model, dotted) - embeddings(model, inputs))[0].norm(dim=-1).argmax())
    after = embeddings(model, changed)[0]
    decoder = model.get_decoder()
    kinds = getattr(decoder.config, "layer_types", None) or ["full_attention"]
    number = kinds.index("full_attention") if "full_attention" in kinds else 0
    for layer in decoder.layers:
        attention = layer.self_attn
        for linear in (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj, layer.mlp.down_proj):
            for parameter in linear.parameters():
                parameter.zero_()
    read = decoder.layers[number].input_layernorm(after).double()
    spread = read.T @ read
    direction = torch.linalg.solve(spread + 1e-6 * spread.diagonal().mean() * torch.eye(len(spread)), read[position])
    way = torch.randn(len(direction), generator=torch.Generator().manual_seed(1)).to(after.dtype)
    way -= after[-1] * (way @ after[-1]) / (after[-1] @ after[-1])  # the last token itself says nothing of TOKEN
    way /= way.norm()
    decoder.layers[number].self_attn.v_proj.weight[0] = direction.to(after.dtype)
    decoder.layers[number].self_attn.o_proj.weight[:, 0] = way
    model.get_output_embeddings().weight[TOKEN] = way
    return position


def strongest_cell(figure):
    """The number of the map with the strongest cell, and the box ``x0, y0, x1, y1`` of this cell on its picture."""
    best, found = -1.0, None
    for number, axes in enumerate(maps(figure)):
        for image in tiles_of(axes):
            values = np.asarray(image.get_array())
            left, right, bottom, top = image.get_extent()
            if values.max() > best:
                best = float(values.max())
                down, across = np.unravel_index(values.argmax(), values.shape)
                wide, high = (right - left) / values.shape[1], (bottom - top) / values.shape[0]
                box = (left + across * wide, top + down * high, left + (across + 1) * wide, top + (down + 1) * high)
                found = number, box
    return found


def redness(picture, box):
    """Share of red pixels in a box of fractions."""
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = box
    part = picture[round(y0 * height) : round(y1 * height), round(x0 * width) : round(x1 * width)].astype(int)
    return float(((part[..., 0] > 180) & (part[..., 1] < 90)).mean())


def check_map(found, position):
    """The strongest cell of the figure is the carrying token's, and lies on the object in the picture under it."""
    assert int(found.relevance[0].argmax()) == position
    figure = found.plot()
    shown = [picture for received in found.received[0] for picture in received.pictures]
    number, box = strongest_cell(figure)
    assert len(shown) == len(maps(figure))
    assert redness(shown[number], box) > 2.5 * redness(shown[number], (0, 0, 1, 1)) > 0


@pytest.mark.parametrize("name", PICTURES)
def test_an_object_that_carries_the_logit_is_seen_where_it_is(name):
    """Square, wide, tall and tiled pictures; in each picture of a prompt with two."""
    case = CASES[name]
    for sizes in case.sizes:
        for number in range(len(sizes)):
            model, processor = case.build()
            plain = [background(size, index) for index, size in enumerate(sizes)]
            inputs, changed, dotted = (
                case.inputs(
                    processor, [[with_object(p, MIDDLE, part) if i == number else p for i, p in enumerate(plain)]]
                )
                for part in (0, 1 / 6, 1 / 20)
            )
            position = carry(model, changed, dotted, inputs)
            check_map(lime_xai.attribute(model, changed, TOKEN, processor=processor), position)


def test_an_object_in_a_video_is_seen_in_its_frame():
    case = VideoCase(CASES["qwen2_5_vl"].make, QWEN)
    torch.manual_seed(0)
    model, processor = CASES["qwen2_5_vl"].build()
    frames = [background(case.size, index) for index in range(FRAMES)]
    inputs, changed, dotted = (
        inputs_of(case, processor, [*frames[:2], *(with_object(frame, (0.7, 0.3), part) for frame in frames[2:])])
        for part in (0, 1 / 6, 1 / 20)
    )
    position = carry(model, changed, dotted, inputs)
    check_map(lime_xai.attribute(model, changed, TOKEN, processor=processor), position)


@pytest.mark.parametrize("start", [4, 20, 32])
def test_a_sound_that_carries_the_logit_is_seen_when_it_sounds(start):
    """Two convolutions of width 3 and a pool of 2: the second frame of a stretch of four reaches no other token."""
    model, inputs = SOUNDS["qwen2_audio"].build()
    inputs = {name: value[:1] for name, value in inputs.items()}
    inputs["input_ids"] = inputs["input_ids"][:, inputs["attention_mask"][0].bool()]
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    changed, dotted = (dict(inputs, input_features=inputs["input_features"].clone()) for _ in range(2))
    changed["input_features"][:, :, start : start + 4] += 6
    dotted["input_features"][:, :, start + 1] += 6
    position = carry(model, changed, dotted, inputs)
    found = lime_xai.attribute(model, changed, TOKEN)
    assert int(found.relevance[0].argmax()) == position
    (axes,) = [axes for axes in found.plot().axes if axes.get_xlabel().startswith("feature frames")]
    bar = max(axes.patches, key=lambda one: one.get_height())
    assert (bar.get_x(), bar.get_width()) == (start, 4)
