"""Which positions are perceptual, against loops over tokens."""

import pytest
import torch
import transformers as hf
from hypothesis import given, settings
from hypothesis import strategies as st
from support.families import FAMILIES
from support.families import placeholder_ids as independent_ids

from lime_xai import Span
from lime_xai.model.modalities import has_modality_inputs, marker_ids, modality_masks, placeholder_ids, spans, union

CONFIG = hf.Qwen2_5OmniThinkerConfig(audio_token_index=98, image_token_index=99, video_token_index=97)
TOKENS = {"image": 99, "video": 97, "audio": 98}
ROWS = st.integers(1, 12).flatmap(
    lambda length: st.lists(
        st.lists(st.sampled_from([0, 5, 97, 98, 99]), min_size=length, max_size=length), min_size=1, max_size=4
    )
)


def naive_spans(row, attended):
    """Label each position, then join neighbours."""
    labels = []
    for token, seen in zip(row, attended, strict=True):
        names = [name for name, placeholder in TOKENS.items() if token == placeholder]
        labels.append(None if not seen else names[0] if names else "text")
    found = []
    for position, label in enumerate(labels):
        if label is None:
            continue
        if position and labels[position - 1] == label:
            found[-1] = (label, found[-1][1], position + 1)
        else:
            found.append((label, position, position + 1))
    return found


@settings(max_examples=200, deadline=None)
@given(rows=ROWS, seed=st.integers(0, 10**6))
def test_spans_are_runs_of_one_modality(rows, seed):
    ids = torch.tensor(rows)
    attended = torch.rand(ids.shape, generator=torch.Generator().manual_seed(seed)) < 0.8
    found = spans(modality_masks(CONFIG, ids), attended)
    wanted = [naive_spans(*pair) for pair in zip(rows, attended.tolist(), strict=True)]
    assert [[(s.modality, s.start, s.stop) for s in row] for row in found] == wanted
    assert [sum(len(s) for s in row) for row in found] == attended.sum(-1).tolist()


@settings(max_examples=100, deadline=None)
@given(rows=ROWS)
def test_masks_hold_the_positions_of_placeholders(rows):
    ids = torch.tensor(rows)
    masks = modality_masks(CONFIG, ids)
    for name, token in TOKENS.items():
        wanted = [[value == token for value in row] for row in rows]
        assert (name in masks) == any(map(any, wanted))
        if name in masks:
            assert masks[name].tolist() == wanted
    either = [[value in TOKENS.values() for value in row] for row in rows]
    assert union(masks, ids).tolist() == either
    assert union(masks, ids).dtype == torch.bool


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if family.attributable])
def test_every_family_names_its_placeholders(family):
    model, inputs, _ = FAMILIES[family].build()
    assert placeholder_ids(model.config) == independent_ids(model)
    masks = modality_masks(model.config, inputs["input_ids"])
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {
        FAMILIES[family].modality: FAMILIES[family].tokens
    }


@pytest.mark.parametrize(
    ("family", "markers"),
    [
        ("llava", set()),
        ("qwen2_vl", {95, 96}),
        ("gemma3", {95, 96}),
        ("qwen2_5_omni_thinker", {93, 94, 95, 96}),
    ],
)
def test_markers_open_and_close_what_is_perceived(family, markers):
    model, _, placeholders = FAMILIES[family].build()
    assert marker_ids(model.config) == markers
    assert not markers & set(placeholders.values())


def test_a_text_model_has_neither_placeholders_nor_markers():
    config = hf.LlamaConfig()
    assert placeholder_ids(config) == {}
    assert marker_ids(config) == frozenset()
    assert modality_masks(config, torch.tensor([[1, 2, 3]])) == {}


def test_a_mask_of_ones_own_replaces_the_placeholders():
    ids = torch.tensor([[5, 99, 99, 6]])
    own = torch.tensor([[0, 0, 1, 1]])
    found = modality_masks(CONFIG, ids, own)
    assert list(found) == ["image"]
    assert found["image"].tolist() == [[False, False, True, True]]
    named = modality_masks(CONFIG, ids, {"audio": own, "video": torch.zeros_like(own)})
    assert list(named) == ["audio"]
    with pytest.raises(ValueError, match=r"mask 'audio' has shape \(1, 2\), the prompt \(1, 4\)"):
        modality_masks(CONFIG, ids, {"audio": own[:, :2]})


def test_union_of_nothing_is_nothing():
    assert not bool(union({}, torch.zeros(2, 3)).any())


def test_a_span_counts_its_positions():
    span = Span("image", 3, 7)
    assert len(span) == 4
    assert span == Span("image", 3, 7)
    with pytest.raises(AttributeError):
        span.start = 0


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if family.attributable])
def test_features_are_recognised(family):
    _, inputs, _ = FAMILIES[family].build()
    assert has_modality_inputs(inputs)
    assert not has_modality_inputs({name: inputs[name] for name in ("input_ids", "attention_mask")})
    assert not has_modality_inputs({"pixel_values": None})
