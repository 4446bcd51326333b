import numpy as np
import pytest
import torch
from support.photo_cutouts import drawn_catalogue

from benchmarks.photographs.catalogue import CLASSES
from benchmarks.photographs.features import training_scene
from benchmarks.photographs.probe import Objects, objects_of, scores, token_features
from benchmarks.photographs.scenes import masks, tokens_of

STAMPS = drawn_catalogue()


def test_the_feature_of_a_token_is_the_mean_of_its_four_patches():
    features = torch.randn(2, 256, 3)
    found = token_features(features.half())
    assert found.dtype == torch.float32
    for token in (0, 7, 21, 63):
        row, column = divmod(token, 8)
        patches = [16 * (2 * row + dy) + 2 * column + dx for dy in (0, 1) for dx in (0, 1)]
        wanted = features.half().float()[:, patches].mean(1)
        torch.testing.assert_close(found[:, token], wanted)


def test_an_object_has_the_mean_feature_of_its_tokens_and_its_truth():
    scenes = [training_scene(0, index, STAMPS)[0] for index in range(3)]
    features = torch.randn(3, 256, 5)
    found = objects_of(scenes, features, STAMPS)
    tokens, row = token_features(features), 0
    for number, scene in enumerate(scenes):
        for placed, mask in zip(scene.objects, masks(scene, STAMPS), strict=True):
            wanted = sum(tokens[number, token] for token in tokens_of(mask)) / len(tokens_of(mask))
            np.testing.assert_allclose(found.vectors[row], wanted, rtol=1e-5, atol=1e-6)
            tint = -1 if placed.tint is None else placed.tint
            assert (found.classes[row], found.tints[row], found.pixels[row]) == (placed.obj, tint, mask.sum())
            row += 1
    assert row == len(found.classes)


def objects(rng, signal):
    """Objects whose features show class and tint by a one-hot code of this strength."""
    classes, tints = rng.integers(0, 6, 300), rng.integers(-1, 3, 300)
    code = np.concatenate([np.eye(6)[classes], np.eye(4)[tints + 1]], 1)
    vectors = (signal * code + rng.normal(size=code.shape)).astype(np.float32)
    return Objects(vectors, classes, tints, rng.integers(100, 3000, 300))


def test_probes_find_what_features_show_and_nothing_else():
    rng = np.random.default_rng(0)
    clear = scores(objects(rng, 30.0), objects(rng, 30.0))
    assert min(clear[key] for key in ("centroid", "linear", "linear_small", "linear_tinted", "colour")) > 0.98
    assert clear["objects"] == 300
    assert 0 < clear["small"] < 300
    none = scores(objects(rng, 0.0), objects(rng, 0.0))
    assert none["linear"] == pytest.approx(1 / 6, abs=0.08)
    assert none["colour"] == pytest.approx(1 / 3, abs=0.1)


def test_scenes_that_are_probed_are_no_training_scenes():
    from benchmarks.photographs.probe import FIRST_SCENE

    assert FIRST_SCENE > 1_000_000
    assert len(CLASSES) == len(STAMPS.names)
