"""Contrasts with another medium of each item: silence, a grey picture, and noise on pixels."""

import numpy as np
import pytest
import torch
from PIL import Image

import lime_xai
from lime_xai import Contrast
from lime_xai.evaluation.against import Against
from lime_xai.evaluation.benchmarks.asking import Asking, Decoding
from lime_xai.evaluation.benchmarks.other_media import kept_share
from lime_xai.evaluation.benchmarks.protocol import Item
from lime_xai.evaluation.benchmarks.protocols.world import WorldCaptions, write_world
from lime_xai.evaluation.benchmarks.run import evaluate
from lime_xai.evaluation.policies.registry import ITEM_MEDIA
from lime_xai.evaluation.policies.world import measure_policies
from lime_xai.worlds import scene, sound

STRONG = Contrast("counterfactual", strength=4.0, plausibility=0.0)
SEED = 11


def asking_of(world, folder):
    write_world(world, folder, 900, 2)
    protocol, files = WorldCaptions(), {"captions": folder / "captions.jsonl"}
    return Asking(protocol, protocol.read(files), files, Decoding(6, seed=SEED))


def texts(found, name):
    return [answer.text for answer in found.answers.values() if answer.policy == name]


def expected(model, processor, world, others):
    """What ``steer`` says with counterfactuals made here."""
    found = world.evaluation_set(seed=900, scenes=2)
    said = []
    for medium, other in zip(found.media, others, strict=True):
        text = [found.world.prompt(found.world.language.caption_request)]
        inputs = found.world.batch(processor, [medium], text)
        counterfactual = other if isinstance(other, dict) else found.world.batch(processor, [other], text)
        steered = lime_xai.steer(
            model, inputs, STRONG, counterfactual=counterfactual, max_new_tokens=6, do_sample=False
        )
        tokens = steered.sequences[0, inputs["input_ids"].shape[1] :]
        said.append(processor.decode(tokens, skip_special_tokens=True))
    return said


@pytest.mark.parametrize("world", [scene, sound], ids=["scene", "sound"])
def test_nothing_is_a_grey_picture_or_silence(world, tmp_path):
    model, processor = world.WORLD.load_model()
    found = evaluate(
        model,
        processor,
        asking_of(world.WORLD, tmp_path),
        {"vanilla": None, "other": Against(STRONG, "nothing")},
        tmp_path / "a.jsonl",
    )
    media = world.evaluation_set(seed=900, scenes=2).media
    if world is scene:
        others = [Image.new("RGB", medium.size, (127, 127, 127)) for medium in media]
    else:
        others = [np.zeros_like(medium) for medium in media]
    assert texts(found, "other") == expected(model, processor, world, others)
    assert texts(found, "other") != texts(found, "vanilla")
    (settings,) = found.policies["other"]
    assert (settings["against"], settings["branch"], settings["strength"]) == ("nothing", "counterfactual", 4.0)


def test_noise_is_on_the_pixels_that_the_model_receives(tmp_path):
    model, processor = scene.WORLD.load_model()
    asking = asking_of(scene.WORLD, tmp_path)
    systems = {"other": Against(STRONG, "noise")}
    found = evaluate(model, processor, asking, systems, tmp_path / "a.jsonl")
    others = []
    data = scene.evaluation_set(seed=900, scenes=2)
    for item, medium in zip(asking.items, data.media, strict=True):
        inputs = dict(data.world.batch(processor, [medium], [data.world.prompt(data.world.language.caption_request)]))
        generator = torch.Generator().manual_seed(asking.decoding.seed_of(item))
        noise = torch.randn(inputs["pixel_values"].shape, generator=generator)
        inputs["pixel_values"] = kept_share() ** 0.5 * inputs["pixel_values"] + (1 - kept_share()) ** 0.5 * noise
        others.append(inputs)
    assert texts(found, "other") == expected(model, processor, scene, others)
    again = evaluate(model, processor, asking, systems, tmp_path / "b.jsonl")
    assert texts(again, "other") == texts(found, "other")


def test_the_schedule_is_that_of_visual_contrastive_decoding():
    kept = 1.0
    shares = []
    for step in range(1000):
        rate = 1 / (1 + np.exp(6 - 12 * step / 999)) * (5e-3 - 1e-5) + 1e-5
        kept *= 1 - rate
        shares.append(kept)
    for step in (0, 500, 999):
        assert kept_share(step) == pytest.approx(shares[step], rel=1e-9)


def item(images=(), sounds=()):
    return Item("one", "what?", images=tuple(images), sounds=tuple(sounds), place="file.jsonl:3")


@pytest.mark.parametrize(
    ("medium", "asked", "says"),
    [
        ("nothing", {}, "file.jsonl:3 has no picture and no sound"),
        ("noise", {}, "file.jsonl:3 has no picture; noise on pixels is for items with pictures alone"),
        ("noise", {"images": ["a.png"], "sounds": ["a.wav"]}, "file.jsonl:3 has sounds; noise on pixels"),
        ("background", {"images": ["a.png"]}, "only a world knows its pictures and sounds with everything erased"),
    ],
)
def test_items_without_such_a_medium_are_refused_before_anything_runs(tmp_path, monkeypatch, medium, asked, says):
    model, processor = scene.WORLD.load_model()
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "a.wav").write_bytes(b"")
    media = {name: [tmp_path / path for path in paths] for name, paths in asked.items()}
    monkeypatch.setattr(model, "generate", lambda **_: pytest.fail("the model was asked"))
    asking = asking_of(scene.WORLD, tmp_path)
    changed = Asking(asking.protocol, [item(**media)], asking.files, asking.decoding)
    if "sounds" in asked:
        monkeypatch.setattr("lime_xai.evaluation.benchmarks.asking.placeholder_ids", lambda _: {"image": 1, "audio": 2})
    with pytest.raises(ValueError, match=says):
        evaluate(model, processor, changed, {"other": Against(STRONG, medium)}, tmp_path / "a.jsonl")
    assert not (tmp_path / "a.jsonl").exists()


def test_a_counterfactual_without_a_medium_is_refused(tmp_path):
    asking = asking_of(scene.WORLD, tmp_path)
    with pytest.raises(ValueError, match="compares with other pictures or sounds"):
        evaluate(*scene.WORLD.load_model(), asking, {"other": STRONG}, tmp_path / "a.jsonl")


def test_a_world_refuses_a_medium_that_it_cannot_make(each_world, each_untrained):
    with pytest.raises(ValueError, match="A world has no medium 'noise'; it has nothing and background"):
        measure_policies(each_world, *each_untrained, {"one": ITEM_MEDIA["contrast_noisy_pixels"]}, seed=3, scenes=1)
