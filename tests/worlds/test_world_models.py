"""Accepted models, frozen by hash, and the export of half-precision weights."""

import pytest
import torch

from benchmarks.worlds import export
from benchmarks.worlds.scene import SIZES
from lime_xai.storage.weights import weights_hash
from lime_xai.worlds import scene
from lime_xai.worlds.scene import models
from lime_xai.worlds.scene.criteria import LANGUAGE_PRIOR, MAX_HALF_MEGABYTES, kind_of
from lime_xai.worlds.scene.models import (
    BUNDLED,
    EXTRA_FOLDER,
    FrozenModel,
    Protocol,
    load_frozen,
    model_folder,
    protocol,
)


@pytest.fixture
def stored(untrained, tmp_path, monkeypatch):
    """An untrained model, exported and registered as "mine"."""
    for part in untrained:
        part.save_pretrained(tmp_path / "trained")
    (tmp_path / "trained" / "recipe.json").write_text('{"image_cooccurrence": 0.5}')
    digest = export.export_half(tmp_path / "trained", tmp_path / "extra" / "mine")
    entry = FrozenModel(seed=1, image_cooccurrence=0.5, size="1m", role="cause", sha256=digest)
    monkeypatch.setattr(models, "EXTRA_FOLDER", tmp_path / "extra")
    monkeypatch.setattr(models, "protocol", lambda: Protocol({}, {"mine": entry}))
    return tmp_path, digest


def test_export_rounds_once(stored, untrained):
    model, processor = load_frozen("mine")
    assert weights_hash(model) == stored[1] != weights_hash(untrained[0])
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    for given, kept in zip(untrained[0].parameters(), model.parameters(), strict=True):
        assert torch.equal(given.half().float(), kept)
    assert processor.tokenizer.get_vocab() == untrained[1].tokenizer.get_vocab()
    assert models.recipe("mine") == {"image_cooccurrence": 0.5}
    size = (stored[0] / "extra" / "mine" / "model.safetensors").stat().st_size
    assert size <= MAX_HALF_MEGABYTES * 1e6
    assert {p.dtype for p in untrained[0].parameters()} == {torch.float32}


def test_other_weights_under_a_frozen_name_are_refused(stored):
    folder, digest = stored
    other = scene.load_model(folder / "trained")[0]
    other.save_pretrained(folder / "extra" / "mine")
    with pytest.raises(ValueError, match=f"(?s){weights_hash(other)}.*{digest}"):
        load_frozen("mine")
    assert weights_hash(load_frozen(str(folder / "extra" / "mine"))[0]) == weights_hash(other)


def test_unknown_names_and_missing_weights(stored, tmp_path):
    with pytest.raises(ValueError, match=r"Unknown model 'mien'. Did you mean 'mine'"):
        model_folder("mien")
    (tmp_path / "extra").rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError, match=r"not in the wheel; expected them in .*mine"):
        load_frozen("mine")
    (tmp_path / "bare").mkdir()
    with pytest.raises(FileNotFoundError, match=r"recipe\.json does not exist"):
        models.recipe(str(tmp_path / "bare"))


def test_the_export_command_prints_the_hash(stored, monkeypatch, capsys):
    folder, digest = stored
    monkeypatch.setattr("sys.argv", ["export", str(folder / "trained"), str(folder / "again")])
    export.main()
    assert digest in capsys.readouterr().out


def test_seeds_of_different_uses_are_disjoint():
    seeds = [seed for uses in protocol().seeds.values() for seed in uses]
    assert len(set(seeds)) == len(seeds)
    assert set(protocol().seeds) == {"pilot", "acceptance", "tuning", "confirmation"}


def test_tuning_and_confirmation_models_differ():
    roles = {entry.role for entry in protocol().models.values()}
    assert roles <= {"tuning", "confirmation", "cause"}
    assert {"tuning", "confirmation"} <= roles
    assert all(
        (e.role == "cause") == (kind_of(e.image_cooccurrence) != LANGUAGE_PRIOR) for e in protocol().models.values()
    )
    digests = [entry.sha256 for entry in protocol().models.values()]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("name", protocol().models)
def test_frozen_models_are_what_was_accepted(name):
    entry = protocol().models[name]
    model, _ = load_frozen(name)
    assert weights_hash(model) == entry.sha256
    recipe = models.recipe(name)
    assert (recipe["seed"], recipe["image_cooccurrence"], recipe["size"]) == (
        entry.seed,
        entry.image_cooccurrence,
        entry.size,
    )
    assert entry.size in SIZES
    if name != BUNDLED:
        assert (EXTRA_FOLDER / name / "model.safetensors").stat().st_size <= MAX_HALF_MEGABYTES * 1e6
