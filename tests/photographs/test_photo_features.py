import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from support.photo_cutouts import drawn_catalogue
from transformers import Dinov2Config, Dinov2Model

from benchmarks.photographs import training
from benchmarks.photographs.__main__ import build_parser
from benchmarks.photographs.features import (
    FeatureCache,
    encoder,
    features_of,
    pixel_values,
    training_scene,
    write_features,
)
from lime_xai.storage.store import DamagedFileError, read_tensors, write_tensors
from lime_xai.storage.weights import weights_hash

STAMPS = drawn_catalogue()
WANTED = {"seed": 3, "scenes": 6, "per_file": 3, "difficulty": "hard"}


@pytest.fixture(scope="module")
def tiny():
    """A tiny random encoder of pictures as large as the real one's."""
    torch.manual_seed(5)
    config = Dinov2Config(
        hidden_size=8, num_hidden_layers=2, num_attention_heads=2, image_size=224, patch_size=14, layerscale_value=0.5
    )
    return Dinov2Model(config).eval()


@pytest.fixture(scope="module")
def written(tiny, tmp_path_factory):
    """A folder of six scenes, and the digest that was returned."""
    folder = tmp_path_factory.mktemp("features")
    return folder, write_features(folder, encoder(tiny), "tiny", STAMPS, **WANTED)


@pytest.fixture
def copy(written, tmp_path):
    """A copy to damage."""
    return shutil.copytree(written[0], tmp_path / "copy")


class Counting:
    """An encoder that counts its pictures and stops at one, as a kill would."""

    def __init__(self, tower, stop_at=None):
        self.tower, self.stop_at, self.seen = tower, stop_at, 0

    def __call__(self, pixels):
        self.seen += len(pixels)
        if self.stop_at is not None and self.seen >= self.stop_at:
            raise KeyboardInterrupt
        return self.tower(pixels)


def test_the_encoder_gives_the_last_layer_before_the_norm_without_the_class_token(tiny):
    pixels = torch.randn(2, 3, 224, 224)
    seen = []
    handle = tiny.encoder.layer[-1].register_forward_hook(lambda module, args, out: seen.append(out))
    found = encoder(tiny)(pixels)
    handle.remove()
    last = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
    assert found.shape == (2, 256, 8)
    torch.testing.assert_close(found, last[:, 1:], rtol=0, atol=0)


def test_pixels_are_normalised_as_dinov2_expects():
    colour = (10, 200, 90)
    found = pixel_values([Image.new("RGB", (28, 14), colour)])
    assert found.shape == (1, 3, 14, 28)
    wanted = (np.asarray(colour) / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    torch.testing.assert_close(found[0, :, 3, 5].double(), torch.from_numpy(wanted), rtol=1e-5, atol=1e-6)


def test_a_cache_holds_scenes_and_their_features(tiny, written):
    cache = FeatureCache(written[0])
    assert len(cache) == len(cache.scenes) == 6
    assert cache.digest == written[1]
    drawn = [training_scene(3, index, STAMPS, "hard") for index in range(6)]
    assert cache.scenes == tuple(scene for scene, _ in drawn)
    order = [5, 0, 3, 0]
    found = cache.batch(order)
    assert found.dtype == torch.float16
    assert found.shape == (4, 256, 8)
    alone = torch.cat([features_of(encoder(tiny), [drawn[index][1]]) for index in order])
    torch.testing.assert_close(found, alone, rtol=2e-3, atol=2e-3)  # batches of another size round otherwise


def test_the_same_seed_gives_the_same_hash_and_another_one_another(tiny, written, tmp_path):
    again = write_features(tmp_path / "again", encoder(tiny), "tiny", STAMPS, **WANTED)
    other = write_features(tmp_path / "other", encoder(tiny), "tiny", STAMPS, **WANTED | {"seed": 4})
    assert again == written[1] != other


def test_a_run_that_was_killed_goes_on(tiny, written, tmp_path):
    killed = Counting(encoder(tiny), stop_at=5)
    with pytest.raises(KeyboardInterrupt):
        write_features(tmp_path, killed, "tiny", STAMPS, **WANTED)
    assert [path.name for path in tmp_path.iterdir()] == ["features-00000.safetensors"]
    resumed, reported = Counting(encoder(tiny)), []
    assert write_features(tmp_path, resumed, "tiny", STAMPS, **WANTED, report=reported.append) == written[1]
    assert resumed.seen == 3
    assert reported == [3, 6]
    finished = Counting(encoder(tiny))
    write_features(tmp_path, finished, "tiny", STAMPS, **WANTED)
    assert finished.seen == 0


def test_the_first_scenes_of_a_larger_cache(written):
    assert FeatureCache(written[0], 3).scenes == FeatureCache(written[0]).scenes[:3]
    with pytest.raises(FileNotFoundError, match=r"6 scenes, asked for were 9"):
        FeatureCache(written[0], 9)
    with pytest.raises(ValueError, match="multiple of the 3"):
        FeatureCache(written[0], 4)
    with pytest.raises(IndexError, match="0 to 5"):
        FeatureCache(written[0]).batch([6])


@pytest.mark.parametrize(
    ("changed", "weights"), [({"seed": 9}, "tiny"), ({"difficulty": "easy"}, "tiny"), ({}, "other weights")]
)
def test_features_of_something_else_are_not_continued(tiny, copy, changed, weights):
    before = {path: path.read_bytes() for path in copy.iterdir()}
    unused = Counting(encoder(tiny))
    with pytest.raises(ValueError, match=r"features-00000.*asked for was"):
        write_features(copy, unused, weights, STAMPS, **WANTED | changed | {"scenes": 9})
    assert unused.seen == 0
    assert {path: path.read_bytes() for path in copy.iterdir()} == before


def test_a_number_of_scenes_that_fills_no_file_is_refused(tiny, tmp_path):
    with pytest.raises(ValueError, match="multiple of the 3"):
        write_features(tmp_path / "none", encoder(tiny), "tiny", STAMPS, **WANTED | {"scenes": 7})
    assert not (tmp_path / "none").exists()


def rewritten(path, change):
    """Write a file again with other content and a hash that fits it."""
    description, tensors = read_tensors(path, "photographs", "features")
    change(description, tensors)
    write_tensors(path, tensors, "photographs", description)


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_byte,
        lambda path: path.write_bytes(path.read_bytes()[:-50]),
        lambda path: path.write_bytes(b"nothing"),
        lambda path: rewritten(path, lambda described, _: described.update(first=0)),
        lambda path: rewritten(path, lambda described, _: described["scenes"].pop()),
        lambda path: rewritten(path, lambda described, _: described["scenes"][0].update(objects=[{}])),
        lambda path: rewritten(path, lambda described, _: described["identity"].update(weights="others")),
        lambda path: rewritten(path, lambda described, _: described.pop("identity")),
        lambda path: rewritten(path, lambda _, tensors: tensors.update(features=tensors["features"].float())),
        lambda path: rewritten(path, lambda _, tensors: tensors.update(more=tensors.pop("features"))),
    ],
)
def test_a_damaged_or_foreign_file_is_named(copy, damage):
    damage(copy / "features-00001.safetensors")
    with pytest.raises(DamagedFileError, match=r"features-00001\.safetensors"):
        FeatureCache(copy)


def test_a_missing_file_between_others_is_named(copy):
    (copy / "features-00000.safetensors").unlink()
    with pytest.raises(DamagedFileError, match=r"00001.*missing, features-00000\.safetensors"):
        FeatureCache(copy)
    (copy / "features-00001.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="holds no features"):
        FeatureCache(copy)


def test_features_that_float16_does_not_hold_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        features_of(lambda pixels: torch.full((len(pixels), 256, 8), 1e6), [Image.new("RGB", (224, 224))])


@pytest.mark.parametrize("key", ["catalogue", "weights"])
def test_training_refuses_features_of_other_objects_or_another_encoder(written, tiny, monkeypatch, tmp_path, key):
    folder = tmp_path / "parts"
    made = {"catalogue": STAMPS, "weights": weights_hash(tiny)}
    shutil.copytree(written[0], folder / "features")
    for path in (folder / "features").iterdir():
        described, tensors = read_tensors(path, "photographs", "features")
        described["identity"]["weights"] = made["weights"]
        described["identity"][key] = "other"
        write_tensors(path, tensors, "photographs", described)
    monkeypatch.setattr(training, "found", lambda _: SimpleNamespace(stamps=None))
    monkeypatch.setattr(training, "catalogue", lambda _: STAMPS)
    monkeypatch.setattr(training, "tower", lambda _: tiny)
    monkeypatch.setattr(training, "FeatureCache", lambda path, scenes: FeatureCache(path))
    with pytest.raises(ValueError, match=f"holds features with {{'{key}': 'other'}}"):
        training.run(build_parser("train").parse_args(["train", "--folder", str(folder), "--out", str(tmp_path / "o")]))
    assert not (tmp_path / "o").exists()
