"""Received sounds: the spectrogram or waveform of each sound, from its first frame to the end of its last token."""

import numpy as np
import pytest
import torch
from support.every_family import EVERY_FAMILY
from support.family_parts import AUDIO
from support.layout_sounds import SOUNDS, granite_speech

import lime_xai
from lime_xai.model.layouts import LAYOUTS, register_layout
from lime_xai.model.layouts.layout import SoundLayout
from lime_xai.model.layouts.pictures import received


@pytest.mark.parametrize("name", SOUNDS)
def test_a_spectrogram_holds_the_frames_of_its_windows(name):
    case = SOUNDS[name]
    model, inputs = case.build()
    prompt = lime_xai.read_prompt(model, inputs)
    windows = iter(inputs["input_features"])
    sounds = [(one, layout) for row, some in zip(received(prompt), prompt.layouts, strict=True)
              for one, layout in zip(row, some, strict=True)]  # fmt: skip
    assert len(sounds) == len(case.lengths)
    for lengths, (one, layout) in zip(case.lengths, sounds, strict=True):
        wanted = torch.cat([next(windows) for _ in lengths], 1)[:, : case.width * (len(lengths) - 1) + lengths[-1]]
        (got,) = one.pictures
        assert (one.kind, one.reason, one.note, got.dtype) == ("spectrogram", None, None, np.float32)
        assert got.shape[1] == layout.frames[-1][1]
        assert np.array_equal(got, wanted.numpy())


def test_stacked_frames_are_put_one_after_another():
    """Granite Speech: a feature frame holds two frames of the spectrogram."""
    model = granite_speech().eval()
    mels = torch.randn(1, 24, 8)
    ids = torch.tensor([[1, *[AUDIO] * 4, 7]])
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "input_features": mels.reshape(1, 12, 16),
        "input_features_mask": torch.ones(1, 4, dtype=torch.bool),
    }
    prompt = lime_xai.read_prompt(model, inputs)
    ((layout,),), ((one,),) = prompt.layouts, received(prompt)
    assert layout.frames[-1][1] == 12
    assert np.array_equal(one.pictures[0], mels[0].T.numpy())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda v: v[:2], "the inputs hold fewer feature frames than the tokens of the prompt stand for"),
        (lambda v: torch.cat([v, v]), "the inputs hold 6 windows of feature frames, the sounds of the prompt 3"),
        (lambda v: v[0], "input_features has the shape [16, 40]; expected three axes"),
        (lambda v: [*v], "the inputs hold no input_features"),
    ],
)
def test_features_of_another_form_have_a_reason(change, reason):
    model, inputs = SOUNDS["qwen2_audio"].build()
    prompt = lime_xai.read_prompt(model, inputs | {"input_features": change(inputs["input_features"])})
    assert {one.reason for row in received(prompt) for one in row} == {reason}


def sound_of(model, inputs, count, frames):
    """What is received of sounds of one run each, by a model whose layout is registered from outside."""
    model.config.model_type = "my_hearer"
    try:

        @register_layout("my_hearer", modality="audio")
        def one_frame(reading):
            return [SoundLayout("audio", tuple(range(count)), tuple((n, n + frames) for n in range(count)))]

        ((one,),) = received(lime_xai.read_prompt(model, inputs))
        return one
    finally:
        del LAYOUTS["my_hearer", "audio"]


@pytest.mark.parametrize(("shape", "transposed"), [((16, 8), False), ((8, 16), True), ((16, 16), None), ((9, 8), None)])
def test_bands_of_a_family_from_outside_are_told_apart_by_the_config(shape, transposed):
    model, inputs = SOUNDS["qwen2_audio"].build()
    ids = torch.tensor([[1, *[AUDIO] * 4, 7]])
    inputs = {"input_ids": ids, "input_features": torch.randn(1, *shape)}
    one = sound_of(model, inputs, 4, 4)
    if transposed is None:
        assert one.reason == f"which axis of input_features of the shape {[1, *shape]} is frames is not known"
    else:
        wanted = inputs["input_features"][0]
        assert np.array_equal(one.pictures[0], (wanted.T if transposed else wanted)[:, :7].numpy())


def test_a_waveform_is_shown_without_its_padding():
    family = EVERY_FAMILY["vibevoice_asr"]
    model, inputs, _ = family.build()
    inputs["padding_mask"][:, 100:] = False
    one = sound_of(model, inputs, family.tokens, 3)
    assert one.kind == "waveform"
    assert np.array_equal(one.pictures[0], inputs["input_values"][0, 0, :100].numpy())
    short = sound_of(model, inputs | {"padding_mask": inputs["padding_mask"][:, :50]}, family.tokens, 3)
    assert short.reason == "padding_mask has the shape [1, 50], the waveforms [1, 120]"
    del inputs["padding_mask"]
    assert sound_of(model, inputs, family.tokens, 3).pictures[0].shape == (120,)
    other = sound_of(model, inputs | {"input_values": torch.randn(2, 1, 120)}, family.tokens, 3)
    assert other.reason == "input_values of the shape [2, 120] are not the waveforms of 1 sounds"
