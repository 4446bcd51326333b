"""Received pictures are those that the families' own processors made: an object lies where its tokens say it lies."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from support.families import FAMILIES
from support.layout_families import CASES, background
from support.layout_grid_families import GRID_CASES
from support.layout_videos import FRAMES, VIDEOS, inputs_of

import lime_xai
from lime_xai.model.layouts import LAYOUTS, register_layout
from lime_xai.model.layouts.layout import ImageLayout, Tile
from lime_xai.model.layouts.pictures import received
from lime_xai.model.layouts.views import views

PLACED = {name: case for name, case in (CASES | GRID_CASES).items() if case.placed}
RED = (255, 0, 0)
STRETCHED = "colours are stretched to the range of the inputs: "
NOT_GIVEN = "the processor, which knows their mean, was not given"


def scene(size, seed=0, place=None, radius=None):
    """A picture whose colours say where they are, and a red ellipse at fractions of it."""
    width, height = size
    down, across = np.mgrid[0:height, 0:width] + 0.5
    levels = [60 + 120 * across / width, 60 + 120 * down / height, np.full((height, width), 30 + 20 * (seed % 9))]
    found = np.stack(levels, -1).round().astype(np.uint8)
    if place is not None:
        x, y = place
        radius = radius or (min(size) / 6,) * 2
        found[((across - x * width) / radius[0]) ** 2 + ((down - y * height) / radius[1]) ** 2 <= 1] = RED
    return Image.fromarray(found)


def redness(picture):
    """How red each pixel is beside the scene, 0 to 1."""
    levels = picture.astype(float)
    return np.clip((levels[..., 0] - levels[..., 1] - levels[..., 2] + 20) / 255, 0, 1) * (levels[..., 0] > 180)


def centre(picture):
    """Fractions ``x, y`` of the red object."""
    weight = redness(picture)
    down, across = np.mgrid[0 : weight.shape[0], 0 : weight.shape[1]] + 0.5
    return np.array([(across * weight).sum() / weight.shape[1], (down * weight).sum() / weight.shape[0]]) / weight.sum()


def resized(picture, shape):
    """The naive oracle: the whole picture in another size."""
    return np.asarray(picture.resize(shape[1::-1], Image.Resampling.BICUBIC)).astype(float)


def finest(layout):
    return max((tile for tile in layout.tiles if tile.box), key=lambda tile: tile.rows * tile.columns)


def pixel(picture, point):
    x, y = point
    return picture[int(y * picture.shape[0]), int(x * picture.shape[1])].astype(int)


@pytest.mark.parametrize("name", PLACED)
def test_an_object_lies_where_its_token_says(name):
    """In every map of every picture of a batch; and the picture is the original, resized."""
    case = PLACED[name]
    model, processor = case.build()
    blank = case.inputs(processor, [[background(size, 3) for size in row] for row in case.sizes])
    pictures, tokens = [], []
    for index, row in enumerate(lime_xai.read_prompt(model, blank, processor=processor).layouts):
        pictures.append([])
        for number, layout in enumerate(row):
            size, tile = case.sizes[index][number], finest(layout)
            inside = [c for c in tile.centres().tolist() if 0.05 < c[0] < 0.95 and 0.05 < c[1] < 0.95]
            place = inside[(5 * number + 3 * index + 1) % len(inside)]
            radius = [side * (high - low) / count / 2 for side, low, high, count in (
                (size[0], tile.box[0], tile.box[2], tile.columns), (size[1], tile.box[1], tile.box[3], tile.rows)
            )]  # fmt: skip
            pictures[-1].append(scene(size, number + 2 * index, place, radius))
            tokens.append(place)
    prompt = lime_xai.read_prompt(model, case.inputs(processor, pictures), processor=processor)
    places = iter(tokens)
    for row, layouts, found in zip(pictures, prompt.layouts, received(prompt), strict=True):
        for picture, layout, one in zip(row, layouts, found, strict=True):
            place = next(places)
            assert (one.kind, one.reason, one.note) == ("pictures", None, None)
            assert len(one.pictures) == len(views(layout))
            for got in one.pictures:
                assert (got.dtype, got.shape[2]) == (np.uint8, 3)
                step = 1 / min(*got.shape[:2], *picture.size)
                assert abs(centre(got) - place).max() < 1.5 * step
                assert redness(pixel(got, place)[None, None]) > 0.5
                assert abs(got - resized(picture, got.shape)).mean() < 4


ASPECTS = {
    "llava_next": (((200, 90), (70, 160)), 0.03),
    "llava_onevision": (((200, 90),), 0.03),
    "llava_onevision_several": (((200, 90), (70, 160)), 0.05),
    "mistral3": (((224, 112), (56, 112)), 0.01),
    "qwen2_5_vl": (((140, 84), (56, 112)), 0.01),
    "idefics3": (((168, 112), (56, 168)), 0.01),
}


@pytest.mark.parametrize("name", ASPECTS)
def test_every_map_of_an_image_has_the_true_aspect(name):
    """Processors squeeze overviews into squares."""
    sizes, tolerance = ASPECTS[name]
    case = replace(CASES[name], sizes=(sizes,))
    model, processor = case.build()
    inputs = case.inputs(processor, [[scene(size) for size in sizes]])
    (row,) = received(lime_xai.read_prompt(model, inputs, processor=processor))
    for size, one in zip(sizes, row, strict=True):
        for got in one.pictures:
            assert got.shape[1] / got.shape[0] == pytest.approx(size[0] / size[1], rel=tolerance)


@pytest.mark.parametrize(("size", "crop"), [((200, 100), (50, 0)), ((90, 180), (0, 45)), ((120, 120), (0, 0))])
def test_what_a_centre_crop_removes_is_not_shown(size, crop):
    case = CASES["llava"]
    model, processor = case.build()
    side = min(size)
    for name in ("CLIPImageProcessor", "CLIPImageProcessorPil"):
        processor.image_processor = getattr(hf, name)(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
        place = (0.55, 0.42)
        picture = scene(size, place=place, radius=(12, 12))
        prompt = lime_xai.read_prompt(model, case.inputs(processor, [[picture]]), processor=processor)
        ((one,),), ((layout,),) = received(prompt), prompt.layouts
        (got,) = one.pictures
        wanted = [(place[axis] * size[axis] - crop[axis]) / side for axis in (0, 1)]
        assert abs(centre(got) - wanted).max() < 0.02
        box = (*crop, crop[0] + side, crop[1] + side)
        assert abs(got - resized(picture.crop(box), got.shape)).mean() < 2
        nearest = (layout.tiles[0].centres() - torch.tensor(wanted)).norm(dim=1).argmin()
        assert redness(pixel(got, layout.tiles[0].centres()[nearest].tolist())[None, None]) > 0.5


PIL = {
    "llava_next": (hf.LlavaNextImageProcessorPil, ("size", "crop_size", "image_grid_pinpoints")),
    "llava_onevision": (hf.LlavaOnevisionImageProcessorPil, ("size", "image_grid_pinpoints")),
    "llava_pixtral": (hf.PixtralImageProcessorPil, ("size", "patch_size")),
    "qwen2_vl": (hf.Qwen2VLImageProcessorPil, ("size", "patch_size", "merge_size")),
    "idefics3": (hf.Idefics3ImageProcessorPil, ("size", "max_image_size")),
    "gemma3": (hf.Gemma3ImageProcessorPil, ("size",)),
}


@pytest.mark.parametrize("name", PIL)
def test_processors_of_pillow_and_of_torchvision_give_the_same_pictures(name):
    case = CASES[name]
    model, processor = case.build()
    pictures = [[scene(size, 3, (0.6, 0.3)) for size in row] for row in case.sizes]
    there = received(lime_xai.read_prompt(model, case.inputs(processor, pictures), processor=processor))
    kind, settings = PIL[name]
    old = processor.image_processor
    processor.image_processor = kind(**{key: getattr(old, key) for key in settings})
    here = received(lime_xai.read_prompt(model, case.inputs(processor, pictures), processor=processor))
    for some, others in zip(there, here, strict=True):
        for one, other in zip(some, others, strict=True):
            assert len(one.pictures) == len(other.pictures) > 0
            for a, b in zip(one.pictures, other.pictures, strict=True):
                assert abs(a.astype(float) - b).mean() < 1


@pytest.mark.parametrize("name", ["internvl", "aya_vision"])
def test_tiles_of_unknown_place_are_shown_as_they_are(name):
    """A picture of 170 x 60 is cut into three squares."""
    case = CASES[name]
    model, processor = case.build()
    picture = scene((170, 60), place=(0.2, 0.5))
    prompt = lime_xai.read_prompt(model, case.inputs(processor, [[picture]]), processor=processor)
    ((one,),), ((layout,),) = received(prompt), prompt.layouts
    wide = resized(picture, (56, 168, 3))
    wanted = [wide[:, 56 * number : 56 * (number + 1)] for number in range(3)] + [resized(picture, (56, 56, 3))]
    shown = [layout.tiles.index(view.tiles[0]) for view in views(layout)]
    assert sorted(shown) == [0, 1, 2, 3]
    for got, number in zip(one.pictures, shown, strict=True):
        assert abs(got - wanted[number]).mean() < 3


def test_crops_follow_their_picture():
    case = CASES["gemma3_crops"]
    model, processor = case.build()
    picture = scene((140, 84), place=(0.25, 0.5))
    prompt = lime_xai.read_prompt(model, case.inputs(processor, [[picture]]), processor=processor)
    whole, left, right = (one.pictures[0] for one in received(prompt)[0])
    assert abs(whole - resized(picture, whole.shape)).mean() < 3
    assert abs(left - resized(picture.crop((0, 0, 70, 84)), left.shape)).mean() < 3
    assert abs(right - resized(picture.crop((70, 0, 140, 84)), right.shape)).mean() < 3


@pytest.mark.parametrize("name", VIDEOS)
def test_frames_of_a_video(name):
    case = VIDEOS[name]
    model, processor = replace(CASES["llava"], make=case.make).build()
    spots = [(0.2 + 0.15 * number, 0.7 - 0.1 * number) for number in range(FRAMES)]
    frames = [scene(case.size, 4 * (n % 2), spot, (9, 9)) for n, spot in enumerate(spots)]
    prompt = lime_xai.read_prompt(model, inputs_of(case, processor, frames), processor=processor)
    ((one,),), ((layout,),) = received(prompt), prompt.layouts
    assert len(one.pictures) == len(layout.frames) == FRAMES // case.per
    said = "a frame of tokens stands for 2 pictures, of which the first is shown"
    assert one.note == (None if case.per == 1 else said)
    for number, got in enumerate(one.pictures):
        first = frames[number * case.per]
        assert abs(centre(got) - spots[number * case.per]).max() < 0.03
        assert abs(got - resized(first, got.shape)).mean() < 4


@pytest.mark.parametrize("name", FAMILIES)
def test_every_layout_has_pictures_or_a_reason(name):
    model, inputs, _ = FAMILIES[name].build()
    prompt = lime_xai.read_prompt(model, inputs)
    found = received(prompt)
    assert [len(row) for row in found] == [len(row) for row in prompt.layouts]
    for one, layout in ((one, layout) for row, some in zip(found, prompt.layouts, strict=True)
                        for one, layout in zip(row, some, strict=True)):  # fmt: skip
        assert (one.reason is None) == bool(one.pictures) == (one.kind is not None)
        if hasattr(layout, "reason") and not layout.tiles:
            assert one.reason == f"its layout is not known: {layout.reason}"
        elif layout.tiles:
            assert len(one.pictures) == len(views(layout))
            assert one.note == STRETCHED + NOT_GIVEN
            low, high = min(p.min() for p in one.pictures), max(p.max() for p in one.pictures)
            assert (low < 20, high > 235) == (True, True)
        else:
            assert (one.kind, len(one.pictures), one.pictures[0].dtype) == ("spectrogram", 1, np.float32)


def llava_pictures(processor=None, **changes):
    case = CASES["llava"]
    model, own = case.build()
    inputs = case.inputs(own, [[scene((56, 56), place=(0.5, 0.3))]])
    ((one,),) = received(
        lime_xai.read_prompt(model, inputs | changes, processor=own if processor is None else processor)
    )
    return one


def test_colours_are_stretched_where_the_normalisation_is_not_known():
    words = CASES["llava"].build()[1].tokenizer
    own = llava_pictures()
    assert own.note is None
    bare = llava_pictures(words)
    reason = "the processor that was given has no image_processor, which knows their mean"
    assert bare.note == STRETCHED + reason
    assert abs(centre(bare.pictures[0]) - (0.5, 0.3)).max() < 0.05
    assert (bare.pictures[0].min(), bare.pictures[0].max()) == (0, 255)
    silent = SimpleNamespace(tokenizer=words, image_processor=SimpleNamespace(do_normalize=True, do_rescale=True))
    assert llava_pictures(silent).note == STRETCHED + "the image_processor does not say its mean, deviation and factor"
    mute = SimpleNamespace(tokenizer=words, image_processor=SimpleNamespace())
    assert llava_pictures(mute).note == STRETCHED + "the image_processor does not say whether it normalises"
    other = llava_pictures(pixel_values=torch.randn(1, 3, 56, 56) * 300)
    assert other.note.startswith(STRETCHED + "undoing the processor's normalisation gives -")
    flat = llava_pictures(words, pixel_values=torch.full((1, 3, 56, 56), float("nan")))
    assert (flat.pictures[0] == 0).all()


def test_a_processor_that_does_not_normalise_is_believed():
    case = CASES["llava"]
    model, processor = case.build()
    picture = scene((56, 56), place=(0.5, 0.3))
    for options in ({"do_normalize": False}, {"do_normalize": False, "do_rescale": False}, {"do_rescale": False}):
        processor.image_processor = hf.CLIPImageProcessor(
            size={"height": 56, "width": 56}, do_center_crop=False, **options
        )
        inputs = case.inputs(processor, [[picture]])
        inputs["pixel_values"] = inputs["pixel_values"].float()
        ((one,),) = received(lime_xai.read_prompt(model, inputs, processor=processor))
        assert one.note is None
        assert np.array_equal(one.pictures[0], np.asarray(picture))


def test_half_precision_shifts_no_colour_far():
    case = CASES["qwen2_vl"]
    model, processor = case.build()
    inputs = case.inputs(processor, [[scene((112, 56), place=(0.5, 0.3))]])
    exact = received(lime_xai.read_prompt(model, inputs, processor=processor))[0][0].pictures[0]
    inputs["pixel_values"] = inputs["pixel_values"].bfloat16()
    half = received(lime_xai.read_prompt(model, inputs, processor=processor))[0][0].pictures[0]
    assert abs(exact.astype(int) - half).max() <= 1


def reasons(name, sizes=None, **changes):
    case = CASES[name]
    model, processor = case.build()
    inputs = case.inputs(processor, [[scene(size) for size in row] for row in sizes or case.sizes])
    layouts = lime_xai.read_prompt(model, inputs, processor=processor).layouts
    inputs |= {key: change(inputs[key]) if callable(change) else change for key, change in changes.items()}
    prompt = lime_xai.read_prompt(model, inputs, processor=processor)
    assert [[type(layout) for layout in row] for row in prompt.layouts] == [
        [type(one) for one in row] for row in layouts
    ]
    found = received(prompt)
    assert [len(row) for row in found] == [len(row) for row in layouts]
    assert not any(one.pictures or one.kind for row in found for one in row)
    return {one.reason for row in found for one in row}


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("internvl", {"pixel_values": lambda v: v[1:]}, "the inputs hold the pixels of 7 tiles, the prompt"),
        ("gemma3", {"pixel_values": lambda v: v[:, :1]}, "the pixels of a tile have the shape [1, 56, 56]; 3 channels"),
        ("gemma3", {"pixel_values": lambda v: [*v]}, "the inputs hold no pixel_values"),
        ("gemma3", {"pixel_values": lambda v: v[:, 0]}, "pixel_values has the shape [3, 56, 56], and its order is not"),
        ("mistral3", {"pixel_values": lambda v: v[..., :84]}, "image_sizes are not those of pixel_values of the shape"),
        ("qwen2_vl", {"pixel_values": lambda v: v[4:]}, "pixel_values holds 104 patches, image_grid_thw calls for 108"),
        ("qwen2_vl", {"pixel_values": lambda v: v[:, 2:]}, "patches of 1174 numbers are not made of 3 x 14 x 14"),
        ("llava_next", {"pixel_values": lambda v: v[:, :2]}, "[2, 3, 56, 56] are not the tiles of a picture of"),
        ("lfm2_vl", {"pixel_values": lambda v: v[..., 1:]}, "pixel_values of the shape [6, 32, 587] are not patches"),
        ("lfm2_vl", {"pixel_values": lambda v: v[:, :8]}, "spatial_shapes call for more patches than pixel_values"),
    ],
)  # fmt: skip
def test_inputs_of_another_form_have_a_reason(name, changes, reason):
    (found,) = reasons(name, **changes)
    assert found.startswith(reason)


def test_patches_of_a_family_from_outside_have_a_reason():
    model, inputs, _ = FAMILIES["qwen2_vl"].build()
    model.config.model_type = "my_qwen"
    try:
        register_layout("my_qwen")(LAYOUTS["qwen2_vl", "image"])
        ((one,),) = received(lime_xai.read_prompt(model, inputs))
        assert one.reason == "the order of the patches of 'my_qwen' is not known"
    finally:
        del LAYOUTS["my_qwen", "image"]


HALF = (0.0, 0.0, 0.5, 1.0)


@pytest.mark.parametrize(
    ("box", "wanted"),
    [
        (HALF, lambda tile: np.concatenate([tile, np.full_like(tile, 255)], 1)),
        ((0.5, 0.0, 1.5, 1.0), lambda tile: np.concatenate([np.full((56, 28, 3), 255), tile[:, :28]], 1)),
        ((2.0, 0.0, 3.0, 1.0), None),
    ],
)
def test_a_tile_of_part_of_a_picture_lies_there_on_white(box, wanted):
    case = CASES["llava"]
    model, processor = case.build()
    picture = scene((56, 56), place=(0.5, 0.5))
    inputs = case.inputs(processor, [[picture]])
    model.config.model_type = "my_llava"
    try:

        @register_layout("my_llava")
        def half(reading):
            return [ImageLayout(reading.modality, tuple(range(16)), (Tile(4, 4, tuple(range(16)), box),))]

        ((one,),) = received(lime_xai.read_prompt(model, inputs, processor=processor))
    finally:
        del LAYOUTS["my_llava", "image"]
    if wanted is None:
        assert one.reason == f"the box {box} of a tile lies beside the picture, which is 0 to 1"
    else:
        assert one.note == "white parts are shown by no tile"
        assert np.array_equal(one.pictures[0], wanted(np.asarray(picture)))
