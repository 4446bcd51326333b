"""Silence as a replacement: positions of a sound get what the model makes of zeros of the same length."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.families import FAMILIES
from support.family_parts import AUDIO
from support.layout_families import embeddings
from support.layout_sounds import SOUNDS
from support.mixed import MIXED
from support.words import numbered_tokenizer
from transformers import AudioFlamingo3Processor, GlmAsrProcessor, Qwen2AudioProcessor, WhisperFeatureExtractor

import lime_xai
from lime_xai.attribution.methods.ablation import FeatureAblation
from lime_xai.attribution.methods.integrated import IntegratedGradients
from lime_xai.attribution.problem import problems
from lime_xai.attribution.replacement import perturbed_logits, substitute_of
from lime_xai.attribution.targets import resolve_target
from lime_xai.model.layouts.sound import pooled_length
from lime_xai.worlds import example, load_world

RATE = 16000


def processor(kind, **settings):
    """A processor of tiny models: windows of 40 frames in a second."""
    extractor = WhisperFeatureExtractor(feature_size=16, chunk_length=1, hop_length=400, n_fft=800)
    tokenizer = numbered_tokenizer(**{"<sound>": AUDIO})
    tokenizer.pad_token = "w0"
    tokenizer.add_special_tokens({"additional_special_tokens": ["<sound>"]})
    return kind(extractor, tokenizer, audio_token="<sound>", **settings)


KINDS = {
    "qwen2_audio": (Qwen2AudioProcessor, {}, (16000, 9000, 12345)),
    "audioflamingo3": (AudioFlamingo3Processor, {"max_audio_len": 3}, (30000, 8000)),
    "glmasr": (GlmAsrProcessor, {"max_audio_len": 3}, (30000, 8000)),
}


def heard(name, level=0.1):
    """A model, its processor, and inputs of two rows; where it takes several sounds per text, the second has two."""
    kind, settings, lengths = KINDS[name]
    made = processor(kind, **settings)
    rng = np.random.default_rng(0)
    sounds = [rng.normal(0, level, length).astype(np.float32) for length in lengths]
    text = ["w5 w6 <sound> w7 w8", "w5 <sound> w9 <sound> w7 w8" if len(lengths) > 2 else "w5 <sound> w7"]
    inputs = made(text=text, audio=sounds, sampling_rate=RATE, return_tensors="pt", padding=True, padding_side="left")
    model, _ = SOUNDS[name].build()
    return model, made, dict(inputs)


@pytest.mark.parametrize("name", KINDS)
def test_positions_of_sounds_get_what_the_model_makes_of_zeros_of_the_same_length(name):
    model, made, inputs = heard(name)
    expected = embeddings(model, heard(name, level=0.0)[2])
    prompt = lime_xai.read_prompt(model, inputs, processor=made)
    goal = resolve_target(5, 2, prompt.vocabulary, "cpu")
    sound, text = prompt.positions.modalities["audio"], ~prompt.positions.perceptual & prompt.positions.attended
    assert int(sound.sum()) > 10
    for row, problem in enumerate(problems(prompt, prompt.recording(), goal)):
        (found,) = substitute_of(problem, "silence")
        torch.testing.assert_close(found[0, sound[row]], expected[row, sound[row]])
        assert float((problem.inputs[0] - found)[0, sound[row]].abs().max()) > 1e-2
        words = problem.inputs[0][0, text[row]]
        torch.testing.assert_close(found[0, text[row]], words.mean(0).expand_as(words))


class Shortest(Qwen2AudioProcessor):
    """Pads sounds to the window of a second, or, with texts, to the longest sound, as that of Qwen2.5-Omni does."""

    def _process_audio(self, audio, **kwargs):
        padding = True if kwargs.get("padding") is True else "max_length"
        found = self.feature_extractor(audio, **{**kwargs, "padding": padding, "return_attention_mask": True})
        found["feature_attention_mask"] = found.pop("attention_mask")
        return found, ["<sound>" * pooled_length(len(one) // 400) for one in audio]


@pytest.mark.parametrize("padding", [False, True])
def test_the_padding_of_the_inputs_is_found(padding):
    made = processor(Shortest)
    model, _ = SOUNDS["qwen2_audio"].build()
    sounds = [np.ones(size, np.float32) for size in (9600, 6400)]
    text = ["w5 <sound> w6 <sound> w7"]
    inputs = made(text=text, audio=sounds, sampling_rate=RATE, return_tensors="pt", padding=padding)
    prompt = lime_xai.read_prompt(model, inputs, processor=made)
    silent = prompt.silent.inputs["input_features"]
    assert silent.shape == inputs["input_features"].shape == (2, 16, 24 if padding else 40)
    assert not torch.equal(silent, inputs["input_features"])


def test_with_all_of_its_sound_silenced_a_model_says_what_it_says_to_silence():
    model, made, inputs = example("is there a bell in the sound ?", world="sound")
    world = load_world("sound")
    quiet = world.batch(made, [np.zeros(64000, np.float32)], [world.prompt("is there a bell in the sound ?")])
    prompt = lime_xai.read_prompt(model, inputs, processor=made)
    goal = resolve_target(5, 1, prompt.vocabulary, "cpu")
    (problem,) = problems(prompt, prompt.recording(), goal)
    kept = ~problem.modalities["audio"][None]
    with torch.no_grad():
        found = perturbed_logits(problem, kept, substitute_of(problem, "silence"))[0, -1]
        torch.testing.assert_close(found, model(**quiet).logits[0, -1], atol=1e-4, rtol=1e-4)
        assert float((found - model(**inputs).logits[0, -1]).abs().max()) > 1e-2


def test_silence_is_encoded_once_per_prompt_and_only_if_it_is_used():
    model, made, inputs = example("is there a bell in the sound ?", world="sound")
    runs = []
    model.get_submodule("model.audio_tower" if hasattr(model, "model") else "audio_tower").register_forward_hook(
        lambda *_: runs.append(1)
    )
    prompt = lime_xai.read_prompt(model, inputs, processor=made)
    lime_xai.attribute(model, prompt, 5, FeatureAblation(replacement="mean"))
    assert len(runs) == 1
    path = IntegratedGradients(replacement="silence", steps=2, tolerance=None)
    for method in (FeatureAblation(replacement="silence"), path):
        lime_xai.attribute(model, prompt, 5, method)
        assert len(runs) == 2


def test_pictures_and_words_beside_a_silent_sound_get_their_mean():
    case = MIXED["qwen2_5_omni_thinker"]
    model, inputs, _ = case.build()
    prompt = lime_xai.read_prompt(model, inputs, processor=processor(Qwen2AudioProcessor))
    goal = resolve_target(5, 1, prompt.vocabulary, "cpu")
    (problem,) = problems(prompt, prompt.recording(), goal)
    silence, mean = substitute_of(problem, "silence"), substitute_of(problem, "mean")
    differs = (silence[0] != mean[0]).any(-1)[0]
    assert torch.equal(differs, problem.modalities["audio"])
    for one, other in zip(silence[1:], mean[1:], strict=True):
        assert torch.equal(one, other)


WAYS = {
    "attribute": partial(lime_xai.attribute, method=FeatureAblation(replacement="silence")),
    "path": partial(lime_xai.attribute, method=IntegratedGradients(replacement="silence")),
    "compare": partial(
        lime_xai.compare_attributions,
        methods=["attnlrp"],
        metrics=["delta_a"],
        replacement=("mean", "silence"),
        progress=False,
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("why", ["no sound", "no processor", "a tokenizer", "another rate", "no layout", "no length"])
def test_silence_that_cannot_be_made_is_refused_before_anything_runs(why, way, monkeypatch):
    name = "llava" if why == "no sound" else "phi4_multimodal_audio" if why == "no layout" else "qwen2_audio"
    if name == "qwen2_audio":
        model, made, inputs = heard(name)
    else:
        model, inputs, _ = FAMILIES[name].build()
        made = processor(Qwen2AudioProcessor)
    if why == "no processor":
        made = None
    if why == "a tokenizer":
        made = made.tokenizer
    if why == "another rate":
        made.feature_extractor = WhisperFeatureExtractor(
            feature_size=16, chunk_length=1, hop_length=200, n_fft=800, sampling_rate=8000 * 2
        )
    if why == "no length":
        made = SimpleNamespace(feature_extractor=SimpleNamespace(), tokenizer=made.tokenizer)
    message = {
        "no sound": r"needs a sound, and the prompt has none \(it holds: image\)",
        "no processor": "needs the processor that made the sounds of the prompt; found no processor",
        "a tokenizer": "found TokenizersBackend, which takes none|found PreTrainedTokenizerFast, which takes none",
        "another rate": "cannot be made again as silence: the processor makes .* of sounds as long",
        "no layout": "how long they are is not known, because no layout of audio tokens is registered",
        "no length": "how long they are is not known, because the processor does not tell",
    }[why]

    def runs(*_, **__):
        raise AssertionError("The model runs.")

    monkeypatch.setattr(type(model), "forward", runs)
    with pytest.raises(ValueError, match=message):
        WAYS[way](model, inputs, processor=made, target=5)


def test_a_comparison_measures_with_silence():
    model, made, inputs = example("is there a bell in the sound ?", world="sound")
    target = tuple(made.tokenizer.convert_tokens_to_ids(["yes", "no"]))
    found = lime_xai.compare_attributions(
        model,
        inputs,
        ["attnlrp", "gradient_input"],
        ["delta_a", "insertion"],
        target=target,
        replacement=("silence", "mean"),
        processor=made,
        progress=False,
    )
    assert set(found.summary["attnlrp"]) == {"delta_a", "delta_a@mean", "insertion", "insertion@mean"}
    assert float(found.summary["attnlrp"]["delta_a"].mean) != float(found.summary["attnlrp"]["delta_a@mean"].mean)
