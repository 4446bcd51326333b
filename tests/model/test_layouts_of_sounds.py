"""Layouts say which feature frames an audio token stands for: a click shows which embedding it changes."""

from types import SimpleNamespace

import pytest
import torch
from support.families import FAMILIES
from support.family_parts import AUDIO
from support.layout_families import embeddings
from support.layout_sounds import SOUNDS, granite_speech

import lime_xai
from lime_xai.attribution.regions import interval_groups

EXTRACTOR = SimpleNamespace(hop_length=160, sampling_rate=16000)
TOKENIZER = SimpleNamespace(convert_ids_to_tokens=lambda ids: [str(token) for token in ids])


@pytest.mark.parametrize("name", SOUNDS)
def test_a_click_changes_the_token_that_stands_for_it(name):
    case = SOUNDS[name]
    model, inputs = case.build()
    layouts = lime_xai.read_prompt(model, inputs).layouts
    sounds = [(row, layout) for row, found in enumerate(layouts) for layout in found]
    assert [len(layout.positions) for _, layout in sounds] == list(case.tokens)
    assert [row for row, _ in sounds] == [row for row, found in enumerate(case.rows) for _ in found]
    before = embeddings(model, inputs)
    window = 0
    for lengths, (row, layout) in zip(case.lengths, sounds, strict=True):
        assert layout.frames[0][0] == 0
        assert layout.frames[-1][1] == case.width * (len(lengths) - 1) + lengths[-1]
        assert layout.intervals is None
        for position, (start, stop) in list(zip(layout.positions, layout.frames, strict=True))[::3]:
            part, frame = divmod((start + stop - 1) // 2, case.width)
            features = inputs["input_features"].clone()
            features[window + part, :, frame] += 5.0
            change = (embeddings(model, inputs | {"input_features": features}) - before).abs().sum(-1)
            assert divmod(int(change.argmax()), change.shape[1]) == (row, position), (start, stop)
            change[row, list(layout.positions)] = 0
            assert not change.any()
        window += len(lengths)


@pytest.mark.parametrize("name", SOUNDS)
def test_seconds_are_those_of_the_feature_extractor(name):
    case = SOUNDS[name]
    model, inputs = case.build()
    processor = SimpleNamespace(feature_extractor=EXTRACTOR, tokenizer=TOKENIZER)
    prompt = lime_xai.read_prompt(model, inputs, processor=processor)
    for lengths, (layout,) in zip(case.lengths[:1], prompt.layouts[:1], strict=True):
        seconds = (case.width * (len(lengths) - 1) + lengths[-1]) * 0.01
        assert layout.duration == pytest.approx(seconds)
        groups = interval_groups(prompt, [(0.0, seconds / 2), (seconds / 2, seconds)])
        assert groups.sizes.sum() == len(layout.positions)
        half = [(start + stop) / 2 < seconds / 2 for start, stop in layout.intervals]
        assert groups.sizes.tolist()[0] == sum(half)
    assert torch.equal(groups.ids >= 0, prompt.positions.modalities["audio"][0])


def test_tokens_of_a_window_stand_for_the_same_frames():
    """Granite Speech: queries that read one window of the encoder each."""
    torch.manual_seed(0)
    model = granite_speech().eval().requires_grad_(False)
    for parameter in model.parameters():
        if parameter.dim() >= 2:
            parameter.normal_(0, 0.15)
    for name, parameter in model.named_parameters():
        if "encoder.layers" in name and "attn.to_out" in name:
            parameter.zero_()
    ids = torch.tensor([[1, 5, *[AUDIO] * 8, 7], [0, 0, 1, 5, *[AUDIO] * 6, 7]])
    sizes = torch.tensor([[1] * 8, [1] * 6 + [0] * 2]).bool()
    features = torch.randn(2, 22, 16)
    inputs = {"input_ids": ids, "attention_mask": (ids != 0).long(), "input_features": features}
    inputs["input_features_mask"] = sizes
    before = embeddings(model, inputs)
    for row, (layout,) in enumerate(lime_xai.read_prompt(model, inputs).layouts):
        for frame in (0, 5, 6, 11, 12, 17):
            changed = features.clone()
            changed[row, frame] += 5.0
            change = (embeddings(model, inputs | {"input_features": changed}) - before).abs().sum(-1)
            wanted = [
                [row, position]
                for position, (start, stop) in zip(layout.positions, layout.frames, strict=True)
                if start <= frame < stop
            ]
            assert change.nonzero().tolist() == wanted


def test_a_mask_of_floats_gives_the_same_lengths():
    model, inputs, _ = FAMILIES["qwen2_audio"].build()
    expected = lime_xai.read_prompt(model, inputs).layouts
    floats = {"feature_attention_mask": inputs["feature_attention_mask"].double()}
    assert lime_xai.read_prompt(model, inputs | floats).layouts == expected
