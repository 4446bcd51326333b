"""The registry of worlds and the shipped model."""

import json

import pytest
import torch

from benchmarks.worlds.optimisation import recipe_of
from benchmarks.worlds.scene import ScenePlan
from lime_xai import worlds
from lime_xai.storage.weights import weights_hash
from lime_xai.worlds import scene
from lime_xai.worlds.scene.criteria import MAX_PARAMETERS


@pytest.fixture(scope="module")
def bundled():
    return worlds.bundled_model()


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


def test_bundled_model_is_small_float32_and_complete(bundled):
    model, processor = bundled
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert sum(p.numel() for p in model.parameters()) <= MAX_PARAMETERS["1m"]
    assert (scene.WORLD.shipped / "model.safetensors").stat().st_size <= 4.5e6
    for name in ("config.json", "tokenizer.json", "chat_template.jinja", "README.md", "recipe.json"):
        assert (scene.WORLD.shipped / name).exists()
    assert not (scene.WORLD.shipped / "checkpoints").exists()
    assert processor.chat_template == scene.build_processor().chat_template
    assert processor.tokenizer.get_vocab() == scene.build_tokenizer().get_vocab()


def test_bundled_model_was_made_by_the_default_plan(bundled):
    recipe = json.loads((scene.WORLD.shipped / "recipe.json").read_text(encoding="utf-8"))
    wanted = json.loads(json.dumps(recipe_of(ScenePlan(), seed=recipe["seed"], threads=recipe["threads"])))
    assert wanted.pop("alignment_hidden") > 0, "younger than the model, and without effect on pictures without pairs"
    assert recipe == wanted
    assert weights_hash(bundled[0]) in (scene.WORLD.shipped / "README.md").read_text(encoding="utf-8")


def test_bundled_processor_makes_what_the_built_one_makes(bundled):
    _, processor = bundled
    evaluation = scene.evaluation_set(seed=1, scenes=2)
    arguments = {
        "text": [q.prompt for q in evaluation.questions[:2]],
        "return_tensors": "pt",
        "padding": True,
    }
    images = [[evaluation.images[0]], [evaluation.images[1]]]
    loaded = processor(images=images, **arguments)
    built = scene.build_processor()(images=images, **arguments)
    for key, value in built.items():
        assert torch.equal(loaded[key], value)


def test_bundled_model_hallucinates_and_answers(bundled):
    """Bounds wider than the acceptance targets, on a quarter of the scenes."""
    found = scene.measure(*bundled, scene.evaluation_set(seed=99, scenes=80))
    assert 0.12 <= found.captions.chair_i <= 0.48
    assert found.captions.finished > 0.9
    assert found.splits["random"].accuracy >= 0.82
    assert found.splits["dialogue"].accuracy <= found.splits["random"].accuracy - 0.05


def test_hallucinated_partners_come_from_the_text(bundled):
    both, text, picture, neither = scene.caption_causes(
        *bundled, scene.evaluation_set(seed=98, scenes=80)
    ).chances.mean(0)
    assert text >= 3 * neither
    assert both > 2 * picture
