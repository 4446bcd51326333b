import copy
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.photo_cutouts import drawn_catalogue
from transformers import InternVLVisionModel

from benchmarks.photographs import probe, weights
from benchmarks.photographs.__main__ import main
from benchmarks.photographs.features import encoder, features_of, training_scene
from benchmarks.photographs.probe import Objects, fresh_objects, objects_of, scores, token_features
from benchmarks.photographs.scenes import masks, tokens_of
from benchmarks.photographs.training import PhotoPlan
from benchmarks.photographs.weights import tower_config

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


def test_scenes_that_are_probed_are_no_training_scenes(monkeypatch):
    drawn = []

    def scene(seed, index, stamps, difficulty):
        drawn.append((seed, index, difficulty))
        return training_scene(seed, index, stamps, difficulty)

    monkeypatch.setattr(probe, "training_scene", scene)
    fresh_objects(lambda pixels: torch.zeros(len(pixels), 256, 2), STAMPS, "easy", 2, 3)
    assert drawn == [(3, probe.FIRST_SCENE, "easy"), (3, probe.FIRST_SCENE + 1, "easy")]
    assert max(PhotoPlan().naming_scenes, PhotoPlan().alignment_scenes) <= probe.FIRST_SCENE


def test_each_layer_is_probed_with_what_an_encoder_of_so_many_layers_gives(monkeypatch):
    asked = []
    monkeypatch.setattr(probe, "scores", lambda known, fresh: asked.append((known, fresh)) or {"linear": 0.0})
    torch.manual_seed(0)
    whole = InternVLVisionModel(tower_config(layers=3, side=224, width=32, heads=4, inner=64)).eval()
    for value in whole.parameters():
        torch.nn.init.normal_(value, std=0.3)
    found = probe.layer_scores(whole, STAMPS, 3, 2, 0)
    assert list(found) == [1, 2, 3]
    for layer, (known, fresh) in enumerate(asked, start=1):
        part = copy.deepcopy(whole)
        part.encoder.layer = part.encoder.layer[:layer]
        for numbers, objects_there in (
            (range(3), known),
            (range(probe.FIRST_SCENE, probe.FIRST_SCENE + 2), fresh),
        ):
            scenes, pictures = zip(*(training_scene(0, number, STAMPS) for number in numbers), strict=True)
            wanted = objects_of(scenes, features_of(encoder(part), pictures), STAMPS)
            np.testing.assert_array_equal(objects_there.classes, wanted.classes)
            np.testing.assert_allclose(objects_there.vectors, wanted.vectors, rtol=2e-2, atol=2e-2)


def test_layers_are_written_with_what_they_are_of(monkeypatch, tmp_path, capsys):
    row = dict.fromkeys(("centroid", "linear", "linear_small", "linear_tinted", "colour"), 0.25)
    asked = []

    def scored(model, stamps, known, scenes, seed):
        asked.append((model, known, scenes, seed))
        return {1: {**row, "objects": 7, "small": 2}}

    monkeypatch.setattr(probe, "found", lambda folder: SimpleNamespace(stamps=folder))
    monkeypatch.setattr(probe, "catalogue", lambda folder: STAMPS)
    monkeypatch.setattr(weights, "tower", lambda parts, layers: f"{layers} layers")
    monkeypatch.setattr(probe, "layer_scores", scored)
    threads = torch.get_num_threads()
    out = tmp_path / "layers.json"
    assert main(["probe", "--layers", "--known", "3", "--scenes", "2", "--out", str(out)]) == 0
    torch.set_num_threads(threads)
    assert asked == [("12 layers", 3, 2, 0)]
    found = json.loads(out.read_text())
    assert (found["known_scenes"], found["scenes"], found["classes"]) == (3, 2, 48)
    assert found["results"]["1"]["objects"] == 7
    assert "0.25" in capsys.readouterr().out


def test_cached_features_are_of_one_layer(capsys):
    assert main(["probe", "--layers", "--features", "somewhere"]) == 1
    assert "--layers computes features of every layer itself" in " ".join(capsys.readouterr().err.split())
