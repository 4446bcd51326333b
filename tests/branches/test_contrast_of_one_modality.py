"""Branches that perceive less of one modality: what the others show stays as it was."""

import pytest
import torch
from support.mixed import MIXED
from transformers import DynamicCache

import lime_xai
from lime_xai import Contrast
from lime_xai.branches.removal import without_positions
from lime_xai.model.decoder_call import DecoderCall
from lime_xai.model.replay import Replayer

FULL = {"do_sample": False, "output_logits": True, "return_dict_in_generate": True}
BUILT = [name for name in MIXED if name != "gemma3n"]
OTHER = {"image": "audio", "audio": "image"}


def steered(model, inputs, policy, count=3, **settings):
    asked = {"max_new_tokens": count, "min_new_tokens": count, **FULL, **settings}
    return lime_xai.steer(model, inputs, policy, **asked).generation


def logits(found):
    return torch.stack(found.logits, 1)


def plain(model, inputs, tokens):
    """The model's own logits before each of some tokens, which follow the prompt."""
    said = []
    for index in range(tokens.shape[1]):
        ids = torch.cat([inputs["input_ids"], tokens[:, :index]], 1)
        given = {**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if "mm_token_type_ids" in inputs:
            given["mm_token_type_ids"] = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, index))
        with torch.no_grad():
            said.append(model(**given, use_cache=False).logits[:, -1])
    return torch.stack(said, 1)


@pytest.mark.parametrize("modality", ["image", "audio"])
@pytest.mark.parametrize("family", BUILT)
def test_a_model_blind_to_one_modality_is_the_model_of_a_prompt_without_it(family, modality):
    model, inputs, _ = MIXED[family].build()
    for batched in (False, True):
        policy = Contrast("blind", strength=1.5, plausibility=0.0, batched=batched, modalities=(modality,))
        found = steered(model, inputs, policy)
        tokens = found.sequences[:, inputs["input_ids"].shape[1] :]
        own = plain(model, inputs, tokens)
        less = plain(model, MIXED[family].without(inputs, modality), tokens)
        assert float((own - less).abs().max()) > 1e-2
        torch.testing.assert_close(logits(found), own + 1.5 * (own - less), atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("family", BUILT)
def test_rows_of_a_padded_batch_are_what_they_are_alone(family):
    model, joined, singles = MIXED[family].batch(2)
    for branch in ("blind", "slot", "noise"):
        policy = Contrast(branch, plausibility=0.0, modalities=("audio",))
        together = logits(steered(model, joined, policy, 2))
        for row, single in enumerate(singles):
            torch.testing.assert_close(
                together[row], logits(steered(model, single, policy, 2))[0], atol=5e-4, rtol=1e-3
            )


@pytest.mark.parametrize("branch", ["blind", "slot", "noise"])
def test_both_modalities_by_name_are_what_no_name_is(branch):
    model, inputs, _ = MIXED["qwen2_5_omni_thinker"].build()
    found = [logits(steered(model, inputs, Contrast(branch, modalities=m))) for m in (None, ("audio", "image"))]
    assert torch.equal(*found)


@pytest.mark.parametrize("modality", ["image", "audio"])
@pytest.mark.parametrize("family", ["qwen2_5_omni_thinker", "qwen3_omni_thinker", "gemma4"])
def test_what_a_branch_changes_lies_in_its_modality(family, modality, monkeypatch):
    """The inputs of the decoder in the branch's prompt: exchanged or noised there, equal elsewhere."""
    model, inputs, _ = MIXED[family].build()
    start, stop = MIXED[family].places[modality]
    silent = {**inputs, **{name: -inputs[name] for name in ("pixel_values", "input_features")}}
    own = lime_xai.read_prompt(model, inputs).recording().calls[0]
    ran, run = [], Replayer.run
    monkeypatch.setattr(
        Replayer, "run", lambda self, call, *given, **more: ran.append(call) or run(self, call, *given, **more)
    )
    for branch in ("noise", "counterfactual"):
        given = {"counterfactual": silent} if branch == "counterfactual" else {}
        steered(model, inputs, Contrast(branch, modalities=(modality,)), 1, **given)
        other = next(call for call in reversed(ran) if call.length == own.length)
        changed = (other.embeddings != own.embeddings).any(-1)[0]
        assert changed.nonzero()[:, 0].tolist() == list(range(start, stop)), branch
        same = [torch.equal(a, b) for a, b in zip(other.deep_features, own.deep_features, strict=True)]
        assert all(same) is (modality == "audio" or not same)


def test_a_counterfactual_may_differ_in_the_other_modality_too_and_that_is_not_used():
    model, inputs, _ = MIXED["qwen2_5_omni_thinker"].build()
    policy = Contrast("counterfactual", modalities=("audio",), plausibility=0.0)
    sound = {**inputs, "input_features": -inputs["input_features"]}
    both = {**sound, "pixel_values": -inputs["pixel_values"]}
    found = [logits(steered(model, inputs, policy, counterfactual=other)) for other in (sound, both)]
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5)
    whole = logits(steered(model, inputs, Contrast("counterfactual", plausibility=0.0), counterfactual=both))
    assert float((whole - found[0]).abs().max()) > 1e-2


@pytest.mark.parametrize("modality", ["image", "audio"])
def test_the_slot_branch_hides_one_modality(modality):
    """By hand: a mask that hides its slots from the last token, over a cache of everything before."""
    family = MIXED["gemma4"]
    model, inputs, _ = family.build()
    policy = Contrast("slot", strength=1.0, plausibility=0.0, modalities=(modality,))
    found = logits(steered(model, inputs, policy, 1))[:, 0]
    cut = {name: inputs[name][:, :-1] for name in ("input_ids", "attention_mask", "mm_token_type_ids")}
    mask = torch.ones_like(inputs["input_ids"])
    mask[:, slice(*family.places[modality])] = 0
    said = []
    for seen in (torch.ones_like(mask), mask):
        cache = DynamicCache(config=model.get_decoder().config)
        with torch.no_grad():
            model(**{**inputs, **cut}, past_key_values=cache, use_cache=True)
            last = {name: inputs[name][:, -1:] for name in ("input_ids", "mm_token_type_ids")}
            place = torch.tensor([[mask.shape[1] - 1]])
            said.append(model(**last, attention_mask=seen, position_ids=place, past_key_values=cache).logits[:, -1])
    own, hidden = said
    assert float((own - hidden).abs().max()) > 1e-2
    torch.testing.assert_close(found, 2 * own - hidden, atol=1e-3, rtol=1e-3)


def test_what_cannot_be_taken_out_is_refused_by_name():
    """A prompt longer than a sliding window; sound tokens between those of a video; a prompt that ends so."""
    model, inputs, _ = MIXED["gemma4_unified"].build(window=8)
    policy = Contrast("blind", modalities=("audio",))
    with pytest.raises(NotImplementedError, match="mask of its sliding layers"):
        steered(model, inputs, policy)
    kept = torch.tensor([[True, True, False, True, False, True]])
    ids = torch.tensor([[0, 1, 1, 2, 2, 3]])
    call = DecoderCall(torch.zeros(1, 6, 4), {"position_ids": ids})
    order = torch.tensor([[0, 1, 3, 5]])
    with pytest.raises(ValueError, match=r"Positions 2 to 2 of row 0 cannot be taken out .* share position ids"):
        without_positions(call, torch.ones_like(kept), kept, order, None)
    with pytest.raises(ValueError, match="Row 0 ends with what is to be taken out"):
        without_positions(call, torch.ones_like(kept), ids < 3, torch.tensor([[0, 1, 2, 3, 4]]), None)
