import colorsys
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import chisquare
from support.photo_cutouts import drawn_catalogue, drawn_cutout

from benchmarks.photographs import scenes
from benchmarks.photographs.backgrounds import SIDE, Crop, Paint, background_pixels, draw_background
from benchmarks.photographs.catalogue import CLASSES
from benchmarks.photographs.placed import MIDDLE
from benchmarks.photographs.scenes import (
    DIFFICULTIES,
    FEWEST,
    HALF,
    MOST,
    TOKEN_SHARE,
    VISIBLE_SHARE,
    Difficulty,
    PhotoScene,
    Placed,
    alphas,
    draw,
    emptied,
    erased,
    masks,
    noisy,
    render,
    scene_from_json,
    scene_to_json,
    tokens_of,
    visible_shares,
)
from benchmarks.photographs.tints import RGB, TINTS, tinted

STAMPS = drawn_catalogue()
SCENES = st.tuples(st.integers(0, 10_000), st.sampled_from(sorted(DIFFICULTIES))).map(
    lambda chosen: draw(np.random.default_rng(chosen[0]), STAMPS, DIFFICULTIES[chosen[1]])
)
GREY = Paint(((120, 120, 120),), 0.0)
few = settings(max_examples=8, deadline=None)


def own_alpha(placed):
    """The alpha of one object, from its cut-out scaled with all bands."""
    left, top, right, bottom = placed.box
    picture = Image.fromarray(STAMPS.cutouts[placed.obj][placed.cutout].pixels)
    picture = picture.resize((right - left, bottom - top), Image.Resampling.BICUBIC)
    found = np.zeros((SIDE, SIDE))
    band = np.asarray(picture)[..., 3] / 255
    found[top:bottom, left:right] = band[:, ::-1] if placed.flip else band
    return found


def parts_of_pixels(scene):
    """What each object makes up of each pixel, by the sum over the layers before it."""
    own = [own_alpha(placed) for placed in scene.objects]
    return [alpha * np.prod([1 - later for later in own[i + 1 :]] or [1.0], 0) for i, alpha in enumerate(own)]


@few
@given(SCENES)
def test_scenes_hold_different_objects_inside_the_picture_each_visible(scene):
    assert FEWEST <= len(scene.objects) <= MOST
    assert sorted((*scene.present, *scene.absent)) == list(range(len(CLASSES)))
    shares = []
    for placed, part in zip(scene.objects, parts_of_pixels(scene), strict=True):
        left, top, right, bottom = placed.box
        assert 0 <= left < right <= SIDE
        assert 0 <= top < bottom <= SIDE
        shares.append((part > HALF).sum() / (own_alpha(placed) > HALF).sum())
    np.testing.assert_allclose(visible_shares(scene, STAMPS), shares)
    assert min(shares) >= VISIBLE_SHARE


@few
@given(SCENES)
def test_masks_are_the_pixels_of_which_an_object_makes_up_most(scene):
    found = masks(scene, STAMPS)
    assert found.shape == (len(scene.objects), SIDE, SIDE)
    assert found.sum(0).max() <= 1
    for mask, part in zip(found, parts_of_pixels(scene), strict=True):
        sure = np.abs(part - HALF) > 1e-6
        assert (mask == (part > HALF))[sure].all()


@few
@given(SCENES, st.integers(0, 4))
def test_erasing_changes_only_what_the_object_is_part_of(scene, which):
    index = which % len(scene.objects)
    obj = scene.objects[index].obj
    without = erased(scene, obj)
    assert obj in without.absent
    assert without.background == scene.background
    part = parts_of_pixels(scene)[index]
    before, after = (np.asarray(render(one, STAMPS), float) for one in (scene, without))
    changed = (before != after).any(-1)
    assert not changed[part == 0].any()
    # What is left is the picture with the object taken out of the mixture, up to rounding.
    mixed = before - after
    assert (np.abs(mixed) <= 255 * part[..., None] + 1).all()
    mask = masks(scene, STAMPS)[index]
    assert changed[mask].mean() > 0.9
    for other, kept in zip(without.objects, masks(without, STAMPS), strict=True):
        earlier = masks(scene, STAMPS)[scene.index_of(other.obj)]
        assert (earlier & ~kept).sum() <= (np.abs(part - HALF) < 1e-6).sum()
    assert min(visible_shares(without, STAMPS)) >= VISIBLE_SHARE


@few
@given(SCENES, st.randoms(use_true_random=False))
def test_erasing_everything_in_any_order_leaves_the_background(scene, random):
    order = list(scene.present)
    random.shuffle(order)
    left = scene
    for obj in order:
        left = erased(left, obj)
    assert left == emptied(scene)
    assert left.present == ()
    assert masks(left, STAMPS).shape == (0, SIDE, SIDE)
    picture = np.asarray(render(left, STAMPS))
    np.testing.assert_array_equal(picture, np.rint(background_pixels(scene.background)))


def test_opaque_pixels_are_those_of_the_scaled_cutout():
    placed = Placed(3, 0, (30, 40, 90, 130), True, None)
    picture = np.asarray(render(PhotoScene(GREY, (placed,)), STAMPS))
    scaled = Image.fromarray(STAMPS.cutouts[3][0].pixels).resize((60, 90), Image.Resampling.BICUBIC)
    scaled = np.asarray(scaled)[:, ::-1]
    solid = scaled[..., 3] == 255
    assert solid.sum() > 500
    np.testing.assert_array_equal(picture[40:130, 30:90][solid], scaled[solid][:, :3])
    assert (picture[:40] == 120).all()


def test_the_classes_of_a_scene_do_not_depend_on_how_hard_they_are_to_place():
    wide = tuple((drawn_cutout(index, 200, 12),) for index in range(len(CLASSES)))
    awkward = replace(STAMPS, cutouts=wide)
    for seed in range(6):
        chosen = {
            draw(np.random.default_rng(seed), stamps, difficulty).present
            for stamps in (STAMPS, awkward)
            for difficulty in DIFFICULTIES.values()
        }
        assert len(chosen) == 1


def test_all_classes_photographs_tints_and_numbers_of_objects_are_drawn_equally_often():
    small = Difficulty((8.0, 10.0), 0.0)  # few collisions, so that this is quick
    drawn = [draw(np.random.default_rng((4, seed)), STAMPS, small) for seed in range(400)]
    objects = [placed for scene in drawn for placed in scene.objects]

    def even(counts):
        """Whether even draws are as uneven as this more often than once in a thousand times."""
        return chisquare(counts).pvalue > 1e-3

    assert even(np.bincount([placed.obj for placed in objects], minlength=len(CLASSES)))
    assert even([sum(len(scene.objects) == count for scene in drawn) for count in range(FEWEST, MOST + 1)])
    tints = [placed.tint for placed in objects if placed.tint is not None]
    assert even(np.bincount(tints, minlength=len(TINTS)))
    assert 0.35 < len(tints) / len(objects) < 0.45
    twice = [placed for placed in objects if len(STAMPS.cutouts[placed.obj]) == 2]
    assert even([sum(placed.cutout == one for placed in twice) for one in (0, 1)])
    assert even([sum(placed.flip == one for placed in objects) for one in (False, True)])


def test_a_seed_gives_one_scene():
    first, second, other = (draw(np.random.default_rng(seed), STAMPS) for seed in (6, 6, 7))
    assert first == second != other
    assert render(first, STAMPS).tobytes() == render(second, STAMPS).tobytes()


def test_sizes_lie_in_the_range_of_the_difficulty():
    for difficulty in (Difficulty((20.0, 24.0), 0.0), Difficulty((50.0, 60.0), 0.0)):
        for seed in range(5):
            for left, top, right, bottom in draw(np.random.default_rng(seed), STAMPS, difficulty).boxes:
                size = np.sqrt((right - left) * (bottom - top))
                assert difficulty.sizes[0] - 1 <= size <= difficulty.sizes[1] + 1


def test_objects_that_cannot_be_placed_are_refused(monkeypatch):
    monkeypatch.setattr(scenes, "_SCENES_TRIED", 2)  # the rest would fail in the same way
    many = next(seed for seed in range(50) if len(draw(np.random.default_rng(seed), STAMPS).objects) == MOST)
    with pytest.raises(RuntimeError, match="smaller sizes"):
        draw(np.random.default_rng(many), STAMPS, Difficulty((205.0, 206.0), 0.0))


def at(left, **changes):
    return PhotoScene(GREY, (replace(Placed(5, 0, (left, 10, left + 20, 40), False, None), **changes),))


def test_values_of_attributes():
    assert at(0).value_of("side", 5) == 0
    assert at(200).value_of("side", 5) == 1
    assert at(SIDE // 2 - 10).value_of("side", 5) is None
    low, high = (round(share * SIDE) - 10 for share in MIDDLE)
    assert [at(left).value_of("side", 5) for left in (low - 1, low + 1, high - 1, high + 1)] == [0, None, None, 1]
    assert at(0).value_of("colour", 5) is None
    assert at(0, tint=4).value_of("colour", 5) == 4
    with pytest.raises(ValueError, match="not in the scene"):
        at(0).value_of("colour", 6)
    with pytest.raises(ValueError, match="unknown attribute 'size'"):
        at(0).value_of("size", 5)


def test_order_from_left_to_right():
    back, front = Placed(9, 0, (100, 0, 140, 40), False, None), Placed(2, 0, (10, 90, 50, 130), False, None)
    scene = PhotoScene(GREY, (back, front))
    assert scene.present == (9, 2)
    assert scene.left_to_right == (2, 9)
    assert scene.boxes == (back.box, front.box)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"obj": len(CLASSES)}, "out of range"),
        ({"box": (10, 10, 10, 20)}, "empty or leaves"),
        ({"box": (200, 10, 230, 20)}, "empty or leaves"),
        ({"tint": len(TINTS)}, "tint"),
    ],
)
def test_scenes_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        at(0, **changes)


def test_a_class_stands_in_a_scene_once():
    with pytest.raises(ValueError, match="twice"):
        PhotoScene(GREY, at(0).objects + at(100).objects)


@few
@given(SCENES)
def test_tokens_that_show_an_object(scene):
    for mask in masks(scene, STAMPS):
        counts = {}
        for y, x in zip(*np.nonzero(mask), strict=True):
            token = y // 28 * 8 + x // 28
            counts[token] = counts.get(token, 0) + 1
        wanted = {token for token, count in counts.items() if count >= TOKEN_SHARE * mask.sum()}
        assert tokens_of(mask) == tuple(sorted(wanted | {max(counts, key=counts.get)}))


def test_a_mask_without_pixels_has_no_tokens():
    with pytest.raises(ValueError, match="224"):
        tokens_of(np.zeros((SIDE, SIDE), bool))
    with pytest.raises(ValueError, match="224"):
        tokens_of(np.ones((8, 8), bool))
    assert len(tokens_of(np.ones((SIDE, SIDE), bool))) == 64  # each has less than the least share


@given(st.integers(0, len(TINTS) - 1), st.integers(0, 50))
@settings(max_examples=25, deadline=None)
def test_a_tint_has_its_hue_everywhere_and_keeps_the_order_of_luminance(tint, seed):
    pixels = drawn_cutout(seed).pixels
    found = tinted(pixels, tint)
    np.testing.assert_array_equal(found[..., 3], pixels[..., 3])
    hue = colorsys.rgb_to_hsv(*(part / 255 for part in RGB[tint]))[0]
    for r, g, b in found[..., :3].reshape(-1, 3)[::37]:
        if max(r, g, b) - min(r, g, b) > 60:  # rounding to 8 bits moves the hue of others
            away = abs(colorsys.rgb_to_hsv(r / 255, g / 255, b / 255)[0] - hue)
            assert min(away, 1 - away) < 0.012
    luma = np.asarray((0.299, 0.587, 0.114))
    before, after = ((array[..., :3] @ luma).ravel() for array in (pixels, found))
    order = np.argsort(before)
    assert np.diff(after[order]).min() > -1.5  # rounding
    solid = pixels[..., 3] > 127
    own = np.asarray(RGB[tint]) @ luma
    assert abs(np.median(after.reshape(solid.shape)[solid]) - own) < 3


def test_tints_are_seen_in_the_picture():
    for tint in range(len(TINTS)):
        scene = at(20, box=(20, 20, 150, 180), tint=tint)
        inside = np.asarray(render(scene, STAMPS))[masks(scene, STAMPS)[0]]
        nearest = np.abs(np.median(inside, 0) - np.asarray(RGB)).sum(1).argmin()
        assert nearest == tint
    with pytest.raises(ValueError, match="purple"):
        tinted(drawn_cutout(0).pixels, 6)


@few
@given(SCENES)
def test_scenes_go_to_json_and_back(scene):
    text = json.dumps(scene_to_json(scene, CLASSES))
    assert scene_from_json(json.loads(text), CLASSES) == scene
    turned = tuple(reversed(CLASSES))
    elsewhere = scene_from_json(json.loads(text), turned)
    assert [turned[obj] for obj in elsewhere.present] == [CLASSES[obj] for obj in scene.present]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["objects"][0].update(obj="unicorn"),
        lambda data: data["objects"][0].pop("box"),
        lambda data: data["objects"][0].update(box=[0, 0, 999, 10]),
        lambda data: data.update(background={"colour": 3}),
        lambda data: data.update(more=1),
        lambda data: data.pop("objects"),
    ],
)
def test_other_data_are_no_scene(change):
    data = json.loads(json.dumps(scene_to_json(draw(np.random.default_rng(0), STAMPS), CLASSES)))
    change(data)
    with pytest.raises(ValueError, match="no scene"):
        scene_from_json(data, CLASSES)


def test_backgrounds_are_drawn_of_all_kinds_and_fill_the_picture():
    drawn = [draw_background(np.random.default_rng(seed)) for seed in range(60)]
    kinds = {str(len(one.colours) if isinstance(one, Paint) else one.blur > 0) for one in drawn}
    assert kinds == {"1", "2", "False", "True"}
    assert {one.source for one in drawn if isinstance(one, Crop)} == {0, 1}
    for one in drawn[:10]:
        pixels = background_pixels(one)
        assert pixels.shape == (SIDE, SIDE, 3)
        assert 0 <= pixels.min() <= pixels.max() <= 255
    crop = next(one for one in drawn if isinstance(one, Crop) and not one.blur)
    flipped = background_pixels(replace(crop, flip=not crop.flip))
    np.testing.assert_array_equal(flipped[:, ::-1], background_pixels(crop))


def test_gradients_go_from_one_colour_to_the_other():
    for angle in (0.0, 1.0, 4.0):
        pixels = background_pixels(Paint(((0, 0, 0), (200, 100, 50)), angle))
        assert pixels[..., 0].min() == pytest.approx(0, abs=1)
        assert pixels[..., 0].max() == pytest.approx(200, abs=1)
    right = background_pixels(Paint(((0, 0, 0), (200, 100, 50)), 0.0))
    assert (np.diff(right[..., 0], axis=1) > 0).all()


def test_backgrounds_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match="no photograph 2"):
        background_pixels(Crop(2, 0, 0, 200, False, 0.0))
    with pytest.raises(ValueError, match="3 colours"):
        background_pixels(Paint(((0, 0, 0),) * 3, 0.0))


def test_noise_has_its_deviation():
    picture = render(PhotoScene(GREY, ()), STAMPS)
    found = np.asarray(noisy(picture, 0.1, np.random.default_rng(0)), float)
    assert found.mean() == pytest.approx(120, abs=1)
    assert found.std() == pytest.approx(25.5, rel=0.02)
    assert noisy(picture, 0.0, np.random.default_rng(0)).tobytes() == picture.tobytes()


def test_alphas_of_an_empty_scene():
    assert alphas(PhotoScene(GREY, ()), STAMPS).shape == (0, SIDE, SIDE)
