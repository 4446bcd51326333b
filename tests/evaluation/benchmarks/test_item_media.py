"""Contrasts with another medium of each item: silence, a grey picture, and noise on pixels."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Qwen2VLImageProcessor

import lime_xai
from lime_xai import Contrast
from lime_xai.evaluation.against import NOISE_STEP, Against
from lime_xai.evaluation.benchmarks import other_media
from lime_xai.evaluation.benchmarks.asking import Asking, Decoding
from lime_xai.evaluation.benchmarks.noise import kept_share
from lime_xai.evaluation.benchmarks.protocol import Item
from lime_xai.evaluation.benchmarks.protocols.world import WorldCaptions, write_world
from lime_xai.evaluation.benchmarks.run import evaluate
from lime_xai.evaluation.benchmarks.system import System
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


class Grid:
    """What ``other_prompt`` reads of a processor with patches."""

    def __init__(self, image_processor):
        self.image_processor = image_processor


def noisy_patches(monkeypatch, pixels, image_processor):
    """Pixels with noise, without the model that would read them."""
    monkeypatch.setattr(other_media, "read_prompt", lambda model, inputs, processor: inputs)
    protocol = WorldCaptions()
    one = item(images=["a.png"])
    asking = Asking(protocol, [one], {}, Decoding(1))
    prompt = SimpleNamespace(inputs={"pixel_values": pixels})
    return other_media.other_prompt(None, Grid(image_processor), asking, one, prompt, "noise", print)["pixel_values"]


@pytest.mark.parametrize("first", ["colours", "frames"])
def test_a_picture_has_the_same_noise_in_all_frames_of_a_patch(monkeypatch, first):
    generator = np.random.default_rng(0)
    sizes = ((56, 84, 3), (84, 56, 3))
    pictures = [Image.fromarray(generator.integers(0, 255, size, dtype=np.uint8)) for size in sizes]
    processor = Qwen2VLImageProcessor(size={"shortest_edge": 16, "longest_edge": 10**6})
    pixels = processor(images=pictures, return_tensors="pt")["pixel_values"].to(torch.bfloat16)
    shape = (3, 2, processor.patch_size**2)
    if first == "frames":  # as MuseGlimmer's processor has them
        pixels, shape = pixels.unflatten(-1, shape).transpose(1, 2).flatten(1), (1, 2, 3 * processor.patch_size**2)
    found = noisy_patches(monkeypatch, pixels, processor)
    assert found.dtype == pixels.dtype
    frames = found.unflatten(-1, shape)
    assert torch.equal(frames[:, :, 0], frames[:, :, 1])
    noise = (found.float() - kept_share() ** 0.5 * pixels.float()).unflatten(-1, shape)[:, :, 0]
    assert noise.std() == pytest.approx((1 - kept_share()) ** 0.5, rel=0.02)
    halves = noise.flatten(1).chunk(2)
    assert abs(torch.corrcoef(torch.stack([half.flatten() for half in halves]))[0, 1]) < 0.05


@pytest.mark.parametrize("last", [12, 13])
def test_frames_in_an_unknown_order_are_refused(monkeypatch, last):
    pixels = torch.arange(2.0 * last).reshape(2, last)
    says = rf"file.jsonl:3: Grid makes patches of 2 frames, .* pixel_values \[2, {last}\] is not known"
    with pytest.raises(ValueError, match=says):
        noisy_patches(monkeypatch, pixels, SimpleNamespace(temporal_patch_size=2))


@pytest.mark.parametrize("change", ["no pixels", "frames"])
def test_noise_that_cannot_be_made_is_refused_before_any_answer(monkeypatch, tmp_path, change):
    model, processor = scene.WORLD.load_model()
    asking = asking_of(scene.WORLD, tmp_path)
    if change == "no pixels":
        says = "captions.jsonl, line 1: LlavaProcessor returns no pixels as numbers"
        monkeypatch.setattr("lime_xai.evaluation.benchmarks.noise.signals", lambda _: {})
    else:
        says = "captions.jsonl, line 1: LlavaProcessor makes patches of 2 frames"
        monkeypatch.setattr(processor.image_processor, "temporal_patch_size", 2, raising=False)
    monkeypatch.setattr(model, "generate", lambda **_: pytest.fail("the model was asked"))
    systems = {"vanilla": None, "other": Against(STRONG, "noise")}
    with pytest.raises(ValueError, match=says):
        evaluate(model, processor, asking, systems, tmp_path / "a.jsonl")
    assert not (tmp_path / "a.jsonl").exists()


def test_the_step_of_the_noise_is_a_setting():
    (settings,) = System.of(Against(STRONG, "noise")).settings
    assert settings["noise_step"] == NOISE_STEP
    (settings,) = System.of(Against(STRONG, "nothing")).settings
    assert "noise_step" not in settings


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
    with pytest.raises(ValueError, match="The policy other does not say with what"):
        evaluate(*scene.WORLD.load_model(), asking, {"other": STRONG}, tmp_path / "a.jsonl")


def test_another_policy_has_no_medium(tmp_path):
    asking = asking_of(scene.WORLD, tmp_path)
    with pytest.raises(ValueError, match="The policy other has 'nothing' and no such branch"):
        evaluate(*scene.WORLD.load_model(), asking, {"other": Against(Contrast(), "nothing")}, tmp_path / "a.jsonl")


def test_a_world_refuses_a_medium_that_it_cannot_make(each_world, each_untrained):
    with pytest.raises(ValueError, match="one: a world has no medium 'noise'; it has nothing and background"):
        measure_policies(each_world, *each_untrained, {"one": ITEM_MEDIA["contrast_noisy_pixels"]}, seed=3, scenes=1)
