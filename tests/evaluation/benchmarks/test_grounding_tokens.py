"""Regions of files as tokens: masks and boxes against loops over pixels, events against loops over time."""

import numpy as np
import pytest
import transformers as hf
from PIL import Image
from support.layout_families import CASES, background

import lime_xai
from lime_xai.attribution.events import Event
from lime_xai.evaluation.benchmarks.grounding.regions import BoxRegion, MaskRegion, TimeRegion
from lime_xai.evaluation.benchmarks.grounding.tokens import picture_tokens, sound_tokens
from lime_xai.model.chat import Request, make_inputs
from lime_xai.model.layouts.reading import NotKnown
from lime_xai.worlds import scene, sound

STRETCHED = [name for name, case in CASES.items() if case.placed]
"""Families whose tiles together show the whole picture, at known places."""

CROPPED = ["internvl", "gemma3_crops"]


@pytest.fixture(scope="module")
def seeing():
    return scene.WORLD.load_model()


@pytest.fixture(scope="module")
def hearing():
    return sound.WORLD.load_model()


def asking(model, processor, question="is there a cup in the image ?"):
    """Prompts of one question about pictures."""

    def ask(image):
        return lime_xai.read_prompt(
            model, make_inputs(model, processor, Request(question, images=[image])), processor=processor
        )

    return ask


def of_family(name):
    case = CASES[name]
    model, processor = case.build()

    def ask(image):
        return lime_xai.read_prompt(model, case.inputs(processor, [[image]]), processor=processor)

    return ask, processor


def shape(size, seed):
    """A mask of a few rectangles, wide against what resizing blurs."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((size[1], size[0]), bool)
    for _ in range(2):
        left, top = (int(rng.integers(0, side // 2)) for side in size)
        mask[top : top + int(rng.integers(side := size[1] // 3, size[1])), left : left + size[0] // 2 + side // 8] = (
            True
        )
    return mask


def naive_part(mask, x0, y0, x1, y1):
    """Part of a rectangle, in pixels, that a mask covers: a loop over pixels."""
    total = 0.0
    for row in range(max(0, int(y0)), min(mask.shape[0], int(y1) + 1)):
        for column in range(max(0, int(x0)), min(mask.shape[1], int(x1) + 1)):
            if mask[row, column]:
                wide = min(column + 1, x1) - max(column, x0)
                high = min(row + 1, y1) - max(row, y0)
                total += max(wide, 0) * max(high, 0)
    return total / ((x1 - x0) * (y1 - y0))


def naive_parts(layout, mask, to_pixels):
    """Positions of a layout with the part of each that a mask covers."""
    found = {}
    for tile in layout.tiles:
        x0, y0, x1, y1 = tile.box
        for number, position in enumerate(tile.positions):
            row, column = divmod(number, tile.columns)
            a, b = (x0 + (x1 - x0) * (column + step) / tile.columns for step in (0, 1))
            c, d = (y0 + (y1 - y0) * (row + step) / tile.rows for step in (0, 1))
            found[position] = naive_part(mask, *to_pixels(a, c), *to_pixels(b, d))
    return found


def check(ask, mask, to_pixels, close=0.04):
    """Compare with the loop; a token whose part is close to one half is decided by how a picture is resized."""
    picture = background((mask.shape[1], mask.shape[0]), 0)
    prompt = ask(picture)
    found = picture_tokens(prompt, mask.astype(float), ask)
    expected = naive_parts(prompt.layouts[0][0], mask, to_pixels)
    got = dict(zip(found.positions.tolist(), found.inside.tolist(), strict=True))
    assert list(got) == list(expected)
    sure = {position: part >= 0.5 for position, part in expected.items() if abs(part - 0.5) > close}
    assert len(sure) > 0.4 * len(expected)
    assert {position: got[position] for position in sure} == sure
    assert 0 < sum(got.values()) < len(got)


@pytest.mark.parametrize("size", [(72, 72), (144, 144), (200, 90), (60, 130)])
def test_a_mask_on_the_scene_world_is_that_of_a_loop_over_pixels(seeing, size):
    for seed in range(3):
        check(asking(*seeing), shape(size, seed), lambda x, y: (x * size[0], y * size[1]))


@pytest.mark.parametrize("name", STRETCHED)
def test_a_mask_is_that_of_a_loop_in_every_family_of_known_places(name):
    ask, _ = of_family(name)
    size = (112, 56) if name not in ("janus", "deepseek_vl") else (56, 56)
    check(ask, shape(size, 1), lambda x, y: (x * size[0], y * size[1]), close=0.1)


@pytest.mark.parametrize("size", [(112, 56), (60, 90)])
def test_a_crop_of_the_processor_is_followed(size):
    ask, processor = of_family("llava")
    processor.image_processor = hf.CLIPImageProcessor(
        size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}, do_center_crop=True
    )
    scale = 56 / min(size)
    left, top = ((side * scale - 56) / 2 for side in size)
    check(ask, shape(size, 2), lambda x, y: ((x * 56 + left) / scale, (y * 56 + top) / scale))


def test_what_a_crop_leaves_out_is_no_region():
    ask, processor = of_family("llava")
    processor.image_processor = hf.CLIPImageProcessor(
        size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}, do_center_crop=True
    )
    mask = np.zeros((56, 112))
    mask[:, :20] = 1
    with pytest.raises(NotKnown, match=r"no token lies in the region by half or more; the largest part is 0\.00"):
        picture_tokens(ask(background((112, 56), 0)), mask, ask)


@pytest.mark.parametrize("part", [0.49, 0.5, 0.51])
def test_half_of_a_token_is_enough(seeing, part):
    region = BoxRegion((12, 12, 12 + 12 * part, 24))
    picture = background((72, 72), 0)
    ask = asking(*seeing)
    whole = picture_tokens(ask(picture), BoxRegion((0, 0, 24, 24)).coverage((72, 72)), ask)
    assert int(whole.inside.sum()) == 4
    if part < 0.5:
        with pytest.raises(NotKnown, match="no token lies in the region"):
            picture_tokens(ask(picture), region.coverage((72, 72)), ask)
        return
    found = picture_tokens(ask(picture), region.coverage((72, 72)), ask)
    assert found.inside.nonzero().tolist() == [[7]]


@pytest.mark.parametrize("name", CROPPED)
def test_an_unknown_place_is_a_reason_and_no_guess(name):
    ask, _ = of_family(name)
    picture = background((170, 60), 0)
    with pytest.raises(NotKnown, match=r"layout of the picture is not known|place of a tile|pictures; expected one"):
        picture_tokens(ask(picture), np.ones((60, 170)), ask)


def test_a_processor_that_inverts_pictures_is_a_reason(seeing):
    plain = asking(*seeing)

    def ask(image):
        return plain(Image.fromarray(255 - np.asarray(image)))

    with pytest.raises(NotKnown, match="does not keep white brighter than black"):
        picture_tokens(plain(background((72, 72), 0)), np.ones((72, 72)), ask)


def test_a_picture_that_is_cut_in_another_way_is_a_reason():
    ask, _ = of_family("qwen2_vl")
    with pytest.raises(NotKnown, match="cuts a picture of the same size in another way"):
        picture_tokens(ask(background((112, 56), 0)), np.ones((56, 56)), ask)


def test_the_cell_of_an_object_is_the_region_of_the_world(seeing):
    evaluation = scene.evaluation_set(seed=901, scenes=4)
    ask = asking(*seeing)
    for picture, drawn in zip(evaluation.media, evaluation.scenes, strict=True):
        for obj in drawn.present:
            top, left = (36 * part for part in divmod(drawn.cell_of(obj), 2))
            found = picture_tokens(ask(picture), BoxRegion((left, top, left + 36, top + 36)).coverage((72, 72)), ask)
            assert tuple(found.inside.nonzero()[:, 0].tolist()) == scene.WORLD.region(drawn, obj)


def heard(model, processor, wave):
    request = Request("is there a bell in the sound ?", sounds=[wave])
    return lime_xai.read_prompt(model, make_inputs(model, processor, request), processor=processor)


def test_events_on_the_sound_world_are_those_of_a_loop_over_time(hearing):
    evaluation = sound.evaluation_set(seed=902, scenes=6)
    for wave, clip in zip(evaluation.media, evaluation.scenes, strict=True):
        prompt = heard(*hearing, wave)
        events = [Event(event.onset, event.offset, "x") for event in clip.events]
        found = sound_tokens(prompt, TimeRegion(events))
        for position, inside in zip(found.positions.tolist(), found.inside.tolist(), strict=True):
            (layout,) = prompt.layouts[0]
            start, stop = layout.intervals[layout.positions.index(position)]
            steps = np.linspace(start, stop, 2001)[:-1] + (stop - start) / 4000
            part = np.mean([any(e.start <= step < e.stop for e in events) for step in steps])
            if abs(part - 0.5) > 0.002:
                assert inside == (part >= 0.5)
        assert 0 < int(found.inside.sum()) < len(found.inside)


def test_a_sound_without_a_known_hop_is_a_reason(hearing):
    model, processor = hearing
    wave = sound.evaluation_set(seed=902, scenes=1).media[0]
    prompt = lime_xai.read_prompt(model, heard(model, processor, wave).inputs)
    with pytest.raises(NotKnown, match="seconds per token of sound 0 are not known"):
        sound_tokens(prompt, TimeRegion([Event(0.0, 1.0, "x")]))


def test_events_behind_the_sound_are_refused(hearing):
    prompt = heard(*hearing, sound.evaluation_set(seed=902, scenes=1).media[0])
    with pytest.raises(ValueError, match="'x' lasts from 3 to 9, the sound from 0 to"):
        sound_tokens(prompt, TimeRegion([Event(3.0, 9.0, "x")]))
    with pytest.raises(NotKnown, match="no token lies in the region by half"):
        sound_tokens(prompt, TimeRegion([Event(0.02, 0.06, "x")]))


def test_a_stretched_mask_covers_the_whole_picture(tmp_path):
    mask = np.zeros((4, 4), bool)
    mask[:2, 2:] = True
    np.save(tmp_path / "0.npy", mask)
    found = MaskRegion(tmp_path / "0.npy", stretched=True).coverage((12, 8))
    expected = np.zeros((8, 12))
    expected[:4, 6:] = 1
    assert np.array_equal(found, expected)
