"""The registry of worlds and the shipped models."""

import json

import pytest
import torch

from benchmarks.worlds.optimisation import recipe_of
from benchmarks.worlds.training import COURSES
from lime_xai import worlds
from lime_xai.storage.weights import weights_hash
from lime_xai.worlds import scene


@pytest.fixture(scope="module")
def each_bundled(each_world):
    return worlds.bundled_model(each_world.name)


def test_worlds_are_found_by_name():
    assert {name: worlds.load_world(name).name for name in worlds.WORLDS} == {"scene": "scene", "sound": "sound"}
    assert worlds.load_world("scene") is scene.WORLD


@pytest.mark.parametrize(
    ("name", "hint"),
    [("scenes", r" Did you mean 'scene'\?"), ("Scene", r" Did you mean 'scene'\?"), ("zzz", ""), ("", "")],
)
def test_unknown_world_names_the_nearest(name, hint):
    for find in (worlds.load_world, worlds.bundled_model):
        with pytest.raises(ValueError, match=rf"^Unknown world '{name}'\.{hint} Known: scene, sound\.$"):
            find(name)


def test_a_folder_without_a_model_says_how_to_make_one(each_world, tmp_path):
    command = rf"worlds\.training --world {each_world.name} --out {tmp_path}"
    with pytest.raises(FileNotFoundError, match=rf"holds no model\.safetensors; .*{command}"):
        each_world.load_model(tmp_path)


def test_a_world_without_a_shipped_model_says_how_to_make_one(each_world, monkeypatch, tmp_path):
    monkeypatch.setattr(type(each_world), "folder", tmp_path)
    for load in (each_world.load_model, lambda: worlds.bundled_model(each_world.name)):
        with pytest.raises(FileNotFoundError, match=rf"no model is shipped.*training --world {each_world.name} --out"):
            load()


def test_a_model_of_another_world_is_refused(each_world, each_folder):
    for other in worlds.WORLDS.values():
        if other is not each_world:
            with pytest.raises(ValueError, match=f"lacks the tokens .*expected the {other.name} world's vocabulary"):
                other.load_model(each_folder)


def test_worlds_say_what_they_are(each_world):
    assert each_world.description
    assert each_world.modality in ("image", "audio")
    assert set(each_world.open_kinds) > {attribute.name for attribute in each_world.language.attributes}
    evaluation = each_world.evaluation_set(seed=1, scenes=3)
    assert {q.kind for q in evaluation.open_questions} == set(each_world.open_kinds)
    assert {p.kind for p in evaluation.probes} == set(each_world.probe_kinds)


def test_bundled_model_is_small_float32_and_complete(each_world, each_bundled):
    model, processor = each_bundled
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert sum(p.numel() for p in model.parameters()) <= 1.2e6
    assert (each_world.shipped / "model.safetensors").stat().st_size <= 4.5e6
    for name in ("config.json", "tokenizer.json", "chat_template.jinja", "README.md", "recipe.json"):
        assert (each_world.shipped / name).exists()
    assert not (each_world.shipped / "checkpoints").exists()
    built = COURSES[each_world.name].subject.build_processor()
    assert processor.chat_template == built.chat_template
    assert processor.tokenizer.get_vocab() == built.tokenizer.get_vocab()


def test_bundled_model_was_made_by_the_default_plan(each_world, each_bundled):
    recipe = json.loads((each_world.shipped / "recipe.json").read_text(encoding="utf-8"))
    plan = COURSES[each_world.name].plan()
    wanted = json.loads(json.dumps(recipe_of(plan, seed=recipe["seed"], threads=recipe["threads"])))
    if each_world.name == "scene":
        assert wanted.pop("alignment_hidden") > 0, (
            "younger than the model, and without effect on pictures without pairs"
        )
    assert recipe == wanted
    assert weights_hash(each_bundled[0]) in (each_world.shipped / "README.md").read_text(encoding="utf-8")


def test_bundled_processor_makes_what_the_built_one_makes(each_world, each_bundled):
    evaluation = each_world.evaluation_set(seed=1, scenes=2)
    prompts = [q.prompt for q in evaluation.questions[:2]]
    loaded = each_world.batch(each_bundled[1], evaluation.media, prompts)
    built = each_world.batch(COURSES[each_world.name].subject.build_processor(), evaluation.media, prompts)
    assert built.keys() == loaded.keys()
    for key, value in built.items():
        assert torch.equal(loaded[key], value)


def test_an_example_asks_about_one_medium_of_a_world(each_world):
    model, processor, inputs = worlds.example(world=each_world.name)
    asked = processor.decode(inputs["input_ids"][0])
    assert each_world.language.caption_request in asked
    found = model.generate(**inputs, max_new_tokens=26, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert each_world.language.mentions(processor.decode(found))
    _, _, other = worlds.example(each_world.language.caption_request, seed=901, world=each_world.name)
    assert torch.equal(other["input_ids"], inputs["input_ids"])
    features = [name for name, value in inputs.items() if value.is_floating_point()]
    assert features
    assert not any(torch.equal(other[name], inputs[name]) for name in features)
    with pytest.raises(ValueError, match="Unknown world 'sounds'"):
        worlds.example(world="sounds")


def test_a_world_of_ones_own_is_known_by_its_name(monkeypatch):
    monkeypatch.setattr(worlds, "_WORLDS", known := dict(worlds.WORLDS))
    monkeypatch.setattr(worlds, "WORLDS", known)

    class Mine(type(worlds.WORLDS["scene"])):
        name = "mine"

    world = Mine()
    worlds.register_world(world)
    assert worlds.load_world("mine") is world
    again = Mine()
    worlds.register_world(again)
    assert worlds.load_world("mine") is again
    assert worlds.load_world("mine").evaluation_set(seed=3, scenes=2).world is again


@pytest.mark.parametrize("name", worlds.WORLDS)
def test_a_world_of_the_library_is_not_replaced(name):
    with pytest.raises(ValueError, match=f"the library itself has a world named '{name}'; give yours another name"):
        worlds.register_world(worlds.WORLDS[name])
