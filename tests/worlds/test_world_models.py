"""Accepted models, frozen by hash, and the export of half-precision weights."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.worlds import export
from benchmarks.worlds.training import COURSES
from lime_xai.storage.weights import weights_hash
from lime_xai.worlds import WORLDS
from lime_xai.worlds.scene.criteria import MAX_HALF_MEGABYTES
from lime_xai.worlds.shared import models
from lime_xai.worlds.shared.criteria import LANGUAGE_PRIOR, kind_of
from lime_xai.worlds.shared.models import FrozenModel, Protocol, load_frozen, model_folder, protocol
from lime_xai.worlds.shared.world import BUNDLED

FROZEN = [(world, name) for world in WORLDS for name in protocol(WORLDS[world]).models]


RECIPE = {"image_cooccurrence": 0.5, "seed": 1}


@pytest.fixture
def stored(each_world, each_untrained, tmp_path, monkeypatch):
    """An untrained model, exported and registered as "mine"."""
    for part in each_untrained:
        part.save_pretrained(tmp_path / "trained")
    (tmp_path / "trained" / "recipe.json").write_text(json.dumps(RECIPE))
    digest = export.export_half(each_world, tmp_path / "trained", tmp_path / "extra" / "mine")
    entry = FrozenModel(seed=1, image_cooccurrence=0.5, size="1m", role="cause", sha256=digest)
    monkeypatch.setattr(type(each_world), "extra_folder", tmp_path / "extra")
    monkeypatch.setattr(models, "protocol", lambda world: Protocol({}, {"mine": entry}))
    return tmp_path, digest


def test_export_rounds_once(stored, each_world, each_untrained):
    model, processor = load_frozen(each_world, "mine")
    assert weights_hash(model) == stored[1] != weights_hash(each_untrained[0])
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    for given, kept in zip(each_untrained[0].parameters(), model.parameters(), strict=True):
        assert torch.equal(given.half().float(), kept)
    assert processor.tokenizer.get_vocab() == each_untrained[1].tokenizer.get_vocab()
    assert models.recipe(each_world, "mine") == RECIPE
    size = (stored[0] / "extra" / "mine" / "model.safetensors").stat().st_size
    assert size <= MAX_HALF_MEGABYTES * 1e6
    assert {p.dtype for p in each_untrained[0].parameters()} == {torch.float32}


def test_other_weights_under_a_frozen_name_are_refused(stored, each_world):
    folder, digest = stored
    other = each_world.load_model(folder / "trained")[0]
    other.save_pretrained(folder / "extra" / "mine")
    with pytest.raises(ValueError, match=f"(?s){weights_hash(other)}.*{digest}"):
        load_frozen(each_world, "mine")
    assert weights_hash(load_frozen(each_world, str(folder / "extra" / "mine"))[0]) == weights_hash(other)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_is_named_by_a_text_or_a_path(stored, each_world, each_untrained, kind):
    found = each_world.load_model(kind(stored[0] / "trained"))[0]
    assert weights_hash(found) == weights_hash(each_untrained[0])
    with pytest.raises(FileNotFoundError, match=r"none holds no model\.safetensors"):
        each_world.load_model(kind(stored[0] / "none"))
    with pytest.raises(TypeError, match="folder is 3"):
        each_world.load_model(3)


def test_unknown_names_and_missing_weights(stored, each_world, tmp_path):
    with pytest.raises(ValueError, match=r"Unknown model 'mien'. Did you mean 'mine'"):
        model_folder(each_world, "mien")
    (tmp_path / "extra").rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError, match=r"not in the wheel; expected them in .*mine"):
        load_frozen(each_world, "mine")
    (tmp_path / "bare").mkdir()
    with pytest.raises(FileNotFoundError, match=r"recipe\.json does not exist"):
        models.recipe(each_world, str(tmp_path / "bare"))


def test_the_export_command_prints_the_hash(stored, each_world, monkeypatch, capsys):
    folder, digest = stored
    arguments = ["export", str(folder / "trained"), str(folder / "again"), "--world", each_world.name]
    monkeypatch.setattr("sys.argv", arguments)
    export.main()
    assert digest in capsys.readouterr().out


def test_seeds_of_different_uses_are_disjoint(each_world):
    uses = protocol(each_world).seeds
    seeds = [seed for of_use in uses.values() for seed in of_use]
    assert len(set(seeds)) == len(seeds)
    assert set(uses) == {"pilot", "acceptance", "tuning", "confirmation"}


def test_tuning_and_confirmation_models_differ(each_world):
    frozen = protocol(each_world).models
    roles = {entry.role for entry in frozen.values()}
    assert roles <= {"tuning", "confirmation", "cause"}
    assert {"tuning", "confirmation"} <= roles
    assert all((e.role == "cause") == (kind_of(e.image_cooccurrence) != LANGUAGE_PRIOR) for e in frozen.values())
    digests = [entry.sha256 for entry in frozen.values()]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize(("world_name", "name"), FROZEN)
def test_frozen_models_are_what_was_accepted(world_name, name):
    world = WORLDS[world_name]
    entry = protocol(world).models[name]
    model, _ = load_frozen(world, name)
    assert weights_hash(model) == entry.sha256
    recipe = models.recipe(world, name)
    assert (recipe["seed"], recipe.get("image_cooccurrence", 0.0), recipe["size"]) == (
        entry.seed,
        entry.image_cooccurrence,
        entry.size,
    )
    assert entry.size in COURSES[world_name].subject.sizes
    if name != BUNDLED:
        assert (world.extra_folder / name / "model.safetensors").stat().st_size <= MAX_HALF_MEGABYTES * 1e6
