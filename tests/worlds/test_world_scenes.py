"""Scenes, pictures and ground-truth regions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lime_xai.worlds import scene
from lime_xai.worlds.scene import objects
from lime_xai.worlds.scene.scenes import EMPTY, Scene


def _draw(seed: int, count: int) -> list[Scene]:
    rng = np.random.default_rng(seed)
    return [scene.independent_scene(rng) for _ in range(count)]


def test_scenes_are_reproducible_and_differ_between_seeds():
    assert _draw(3, 50) == _draw(3, 50)
    assert _draw(3, 50) != _draw(4, 50)


def test_independent_scenes_show_no_pairs_beyond_chance():
    scenes = [s for s in _draw(0, 6000) if len(s.present) == 2]
    together = np.mean([scene.partner(s.present[0]) == s.present[1] for s in scenes])
    assert together == pytest.approx(1 / 11, abs=0.03)
    counts = np.bincount([o for s in scenes for o in s.present], minlength=12)
    assert counts.min() > 0.75 * counts.mean()


def test_themed_scenes_bring_partners_and_habitual_colours():
    rng = np.random.default_rng(0)
    scenes = [scene.themed_scene(rng) for _ in range(1500)]
    pairs = [scene.partner(o) in s.present for s in scenes for o in s.present]
    assert np.mean(pairs) > 0.9
    habits = [scene.COLOURS[s.colour_of(o)] == objects.HABITUAL_COLOUR[o] for s in scenes for o in s.present]
    assert np.mean(habits) > 0.8
    popular = np.mean([any(o in (0, 1) for o in s.present) for s in scenes])
    rare = np.mean([any(o in (10, 11) for o in s.present) for s in scenes])
    assert popular > 3 * rare


def test_themed_scenes_put_things_on_their_habitual_side():
    rng = np.random.default_rng(1)
    scenes = [scene.themed_scene(rng) for _ in range(800)]
    alone = [s.side_of(s.present[0]) == objects.HABITUAL_SIDE[s.present[0]] for s in scenes if len(s.present) <= 2]
    assert np.mean(alone) > 0.8


def test_an_object_can_be_taken_out():
    full = scene.Scene((3, -1, 5, 4), (1, -1, 0, 2))
    assert full.without(5) == scene.Scene((3, -1, -1, 4), (1, -1, -1, 2))
    with pytest.raises(ValueError, match="not in the scene"):
        full.without(7)


def test_paired_scenes_bring_partners_and_no_other_habit():
    rng = np.random.default_rng(0)
    scenes = [scene.paired_scene(rng) for _ in range(4000)]
    firsts = [{o // 2 for o in s.present} for s in scenes]
    together = [
        2 * p in s.present and 2 * p + 1 in s.present for s, pairs in zip(scenes, firsts, strict=True) for p in pairs
    ]
    assert np.mean(together) == pytest.approx(0.8, abs=0.03)
    counts = np.bincount([p for pairs in firsts for p in pairs], minlength=6)
    assert counts.min() > 0.85 * counts.mean()
    everything = [(s, o) for s in scenes for o in s.present]
    habitual = [scene.COLOURS[s.colour_of(o)] == objects.HABITUAL_COLOUR[o] for s, o in everything]
    assert np.mean(habitual) == pytest.approx(1 / 6, abs=0.02)
    assert np.mean([s.side_of(o) == objects.HABITUAL_SIDE[o] for s, o in everything]) == pytest.approx(0.5, abs=0.02)


@given(st.integers(0, 10_000), st.integers(1, 4), st.floats(0, 1))
def test_placing_loses_nothing_whatever_the_habits(seed, count, habit):
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(12)[:count].tolist()
    drawn = scene.place(rng, chosen, habit, habit)
    assert sorted(drawn.present) == sorted(chosen)
    assert all(drawn.side_of(o) == drawn.cell_of(o) % 2 for o in chosen)


@pytest.mark.parametrize(
    ("classes", "colours", "message"),
    [
        ((0, 1), (0, 0), "4 cells"),
        ((12, -1, -1, -1), (0, -1, -1, -1), "class 12 is out of range"),
        ((0, -1, -1, -1), (6, -1, -1, -1), "colour 6 is out of range"),
        ((0, 0, -1, -1), (1, 2, -1, -1), "occurs twice"),
        ((0, -1, -1, -1), (-1, -1, -1, -1), "disagree about empty cells"),
    ],
)
def test_impossible_scenes_are_refused(classes, colours, message):
    with pytest.raises(ValueError, match=message):
        Scene(classes, colours)


def test_scene_accessors():
    s = Scene((EMPTY, 5, 0, EMPTY), (EMPTY, 2, 4, EMPTY))
    assert s.present == (5, 0)
    assert s.names == ("anchor", "cup")
    assert s.cell_of(0) == 2
    assert s.colour_of(5) == 2
    assert set(s.absent) == set(range(12)) - {0, 5}
    with pytest.raises(ValueError, match="not in the scene"):
        s.cell_of(1)


def test_unknown_object_name():
    assert scene.class_index("queen") == 9
    with pytest.raises(ValueError, match="unknown object 'dog'"):
        scene.class_index("dog")


def test_render_is_seeded_and_shaped():
    scenes = _draw(1, 7)
    first = scene.render(np.random.default_rng(5), scenes, noise=(0.0, 0.3))
    again = scene.render(np.random.default_rng(5), scenes, noise=(0.0, 0.3))
    assert first.shape == (7, 72, 72, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, scene.render(np.random.default_rng(6), scenes, noise=(0.0, 0.3)))


def test_an_object_changes_its_cell_only():
    with_cup = Scene((EMPTY, EMPTY, 0, EMPTY), (EMPTY, EMPTY, 1, EMPTY))
    empty = Scene((EMPTY,) * 4, (EMPTY,) * 4)
    drawn = [
        scene.render(np.random.default_rng(0), [s], noise=0.0, opacity=1.0)[0].astype(int) for s in (with_cup, empty)
    ]
    rows, columns = np.nonzero(np.abs(drawn[0] - drawn[1]).sum(-1))
    assert len(rows) > 50
    assert rows.min() >= 36
    assert columns.max() < 36


def test_noise_has_the_asked_strength():
    empty = Scene((EMPTY,) * 4, (EMPTY,) * 4)
    drawn = scene.render(np.random.default_rng(0), [empty] * 4, noise=0.02).astype(float)
    assert (drawn - drawn.mean((1, 2), keepdims=True)).std() == pytest.approx(0.02 * 255, rel=0.05)


@pytest.mark.parametrize("noise", [-0.1, (0.3, 0.1), float("nan")])
def test_bad_noise_is_refused(noise):
    with pytest.raises(ValueError, match="noise is"):
        scene.render(np.random.default_rng(0), _draw(0, 1), noise=noise)


def test_erase_paints_one_cell_with_background():
    s = Scene((0, 5, EMPTY, EMPTY), (1, 2, EMPTY, EMPTY))
    image = Image.fromarray(scene.render(np.random.default_rng(0), [s], noise=0.0, opacity=1.0)[0])
    erased = scene.erase(image, s, 5, noise=0.0, rng=np.random.default_rng(1))
    before, after = np.asarray(image).astype(int), np.asarray(erased).astype(int)
    assert np.array_equal(before[:, :36], after[:, :36])
    assert np.array_equal(before[36:], after[36:])
    assert np.ptp(after[:36, 36:], axis=(0, 1)).max() == 0
    with pytest.raises(ValueError, match="not in the scene"):
        scene.erase(image, s, 1, noise=0.0, rng=np.random.default_rng(1))
    with pytest.raises(ValueError, match="has size"):
        scene.erase(image.resize((10, 10)), s, 5, noise=0.0, rng=np.random.default_rng(1))


def test_cell_tokens_partition_the_image_tokens():
    assert scene.cell_tokens(0) == (0, 1, 2, 6, 7, 8, 12, 13, 14)
    assert sorted(t for cell in range(4) for t in scene.cell_tokens(cell)) == list(range(36))
    assert [int(scene.token_cells()[t]) for t in scene.cell_tokens(3)] == [3] * 9
    with pytest.raises(ValueError, match="cell 4"):
        scene.cell_tokens(4)
