"""Reweight: the relevance stream inside generate's own step."""

import pytest
import torch
from support.families import FAMILIES, batch
from support.streams import REFUSED, STREAMED, backward_by_logit, perceptual_of
from transformers import DynamicCache

import lime_xai
from lime_xai import Reweight
from lime_xai.evaluation.conformance.state import model_state
from lime_xai.generation import session
from lime_xai.model.replay import Replayer
from lime_xai.stream.engine import StreamEngine

FORMS = ("direct", "full")
NEW = 5


def expected_choice(model, inputs, tokens, policy):
    """The tokens that reweighting by ``routes`` picks along a given continuation."""
    found = lime_xai.routes(model, inputs, tokens, groups=None, relevance=policy.relevance)
    owed = sum(part for name, part in found.contributions.items() if name != "text")
    logits = found.logits + policy.strength * owed
    chance = found.logits.softmax(-1)
    return logits.masked_fill(chance < policy.plausibility * chance.amax(-1, keepdim=True), -torch.inf)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", STREAMED)
def test_every_step_is_reweighted_by_what_routes_finds(name, form):
    model, inputs, _ = FAMILIES[name].build()
    before = model_state(model)
    policy = Reweight(2.0, relevance=form)
    output = lime_xai.steer(
        model,
        inputs,
        policy,
        max_new_tokens=NEW,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
        eos_token_id=None,
    )
    tokens = output.sequences[:, -NEW:]
    expected = expected_choice(model, inputs, tokens, policy)
    torch.testing.assert_close(torch.stack(output.generation.scores, 1), expected, rtol=1e-3, atol=1e-4)
    assert model_state(model) == before
    assert len(output.trace.steps) == NEW


@pytest.mark.parametrize("form", FORMS)
def test_batches_beams_and_samples(form):
    model, joined, singles = batch("llava", 3)
    policy = Reweight(1.5, relevance=form)
    together = lime_xai.steer(model, joined, policy, max_new_tokens=4, do_sample=False).sequences[:, -4:]
    for row, inputs in enumerate(singles):
        alone = lime_xai.steer(model, inputs, policy, max_new_tokens=4, do_sample=False).sequences[:, -4:]
        assert torch.equal(alone[0], together[row])
    settings = {"max_new_tokens": 4, "do_sample": True, "num_return_sequences": 2}
    torch.manual_seed(3)
    sampled = lime_xai.steer(model, singles[0], policy, **settings).sequences
    torch.manual_seed(3)
    assert torch.equal(lime_xai.steer(model, singles[0], policy, **settings).sequences, sampled)


@pytest.mark.parametrize("form", FORMS)
def test_beams_follow_their_own_history(form):
    """The score of the best beam is the sum of its own reweighted log-probabilities."""
    model, inputs, _ = FAMILIES["qwen2_5_vl"].build()
    policy = Reweight(1.5, relevance=form, plausibility=0.0)
    settings = {"max_new_tokens": 4, "num_beams": 3, "do_sample": False, "length_penalty": 0.0, "eos_token_id": None}
    output = lime_xai.steer(
        model, inputs, policy, return_dict_in_generate=True, output_scores=True, **settings
    ).generation
    tokens = output.sequences[:, -4:]
    logits = expected_choice(model, inputs, tokens, policy)
    score = logits.log_softmax(-1).gather(-1, tokens[..., None]).sum()
    torch.testing.assert_close(output.sequences_scores[0], score, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_outputs_look_like_those_of_a_plain_call(form):
    model, inputs, _ = FAMILIES["llava"].build()
    asked = {
        "max_new_tokens": 3,
        "do_sample": False,
        "return_dict_in_generate": True,
        "output_hidden_states": True,
        "eos_token_id": None,
    }
    plain = model.generate(**inputs, **asked)
    steered = lime_xai.steer(model, inputs, Reweight(0.5, relevance=form, plausibility=0.0), **asked).generation
    for ours, theirs in zip(steered.hidden_states, plain.hidden_states, strict=True):
        assert [h.shape for h in ours] == [h.shape for h in theirs]
    assert type(steered.past_key_values) is DynamicCache
    assert steered.past_key_values.layers[0].keys.shape == plain.past_key_values.layers[0].keys.shape


@pytest.mark.parametrize("form", FORMS)
def test_attention_weights_are_those_of_a_plain_call(form):
    model, inputs, _ = FAMILIES["llava"].build()
    model.set_attn_implementation("eager")
    asked = {"max_new_tokens": 3, "do_sample": False, "return_dict_in_generate": True, "output_attentions": True}
    plain = model.generate(**inputs, **asked, eos_token_id=None)
    policy = Reweight(0.01, relevance=form, plausibility=0.0)
    steered = lime_xai.steer(model, inputs, policy, **asked, eos_token_id=None).generation
    assert torch.equal(plain.sequences, steered.sequences)
    for ours, theirs in zip(steered.attentions, plain.attentions, strict=True):
        for mine, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_stays_behind_after_an_error(error, monkeypatch):
    model, inputs, _ = FAMILIES["llava"].build()
    plain = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    before = model_state(model)
    layer, calls = model.get_decoder().layers[1], []

    def fail(module, args, output):
        calls.append(1)
        if len(calls) == 5:
            raise error("stop")

    lime_xai.routes(model, inputs)  # the probe is done
    handle = layer.register_forward_hook(fail)
    with pytest.raises(error, match="stop"):
        lime_xai.steer(model, inputs, Reweight(), max_new_tokens=6, eos_token_id=None)
    handle.remove()
    assert model_state(model) == before
    assert torch.equal(model.generate(**inputs, max_new_tokens=4, do_sample=False), plain)


def test_a_failed_generation_does_not_disturb_the_next_in_one_context():
    model, inputs, _ = FAMILIES["llava"].build()
    expected = lime_xai.steer(model, inputs, Reweight(2.0), max_new_tokens=4, do_sample=False).sequences
    calls = []

    def fail(module, args, output):
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("stop")

    with lime_xai.steering(model, Reweight(2.0)):
        handle = model.get_decoder().layers[2].register_forward_hook(fail)
        with pytest.raises(RuntimeError, match="stop"):
            model.generate(**inputs, max_new_tokens=6, do_sample=False)
        handle.remove()
        assert torch.equal(model.generate(**inputs, max_new_tokens=4, do_sample=False), expected)


def test_policies_compose_and_share_one_form():
    model, inputs, _ = FAMILIES["llava"].build()
    settings = {"max_new_tokens": 4, "do_sample": False}
    both = lime_xai.steer(model, inputs, [Reweight(1.0, plausibility=0.0), Reweight(1.0, plausibility=0.0)], **settings)
    once = lime_xai.steer(model, inputs, Reweight(2.0, plausibility=0.0), **settings)
    assert torch.equal(both.sequences, once.sequences)
    with_edit = lime_xai.steer(model, inputs, [lime_xai.UniformGain(0.0), Reweight(2.0, plausibility=0.0)], **settings)
    assert torch.equal(with_edit.sequences, once.sequences)
    gained = lime_xai.steer(model, inputs, [lime_xai.UniformGain(0.5), Reweight(2.0)], **settings)
    assert gained.sequences.shape == once.sequences.shape
    with pytest.raises(ValueError, match="forms of contributions: direct, full"):
        lime_xai.steer(model, inputs, [Reweight(), Reweight(relevance="full")], **settings)


def test_the_past_is_kept_only_for_those_who_need_it(monkeypatch):
    forked = []
    original = session.fork_cache
    monkeypatch.setattr(session, "fork_cache", lambda cache: forked.append(1) or original(cache))
    model, inputs, _ = FAMILIES["llava"].build()
    lime_xai.steer(model, inputs, Reweight(relevance="full"), max_new_tokens=4, eos_token_id=None)
    assert not forked
    lime_xai.steer(model, inputs, lime_xai.UniformGain(), max_new_tokens=4, eos_token_id=None)
    assert len(forked) == 3

    class Greedy(Reweight):
        def step(self, step):
            return step.logits_with(step.fork())

    with pytest.raises(RuntimeError, match="The past was not kept"):
        lime_xai.steer(model, inputs, Greedy(), max_new_tokens=3, eos_token_id=None)


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_without_a_trusted_stream_is_refused_before_any_compute(name):
    model, inputs, _ = FAMILIES[name].build()
    before = model_state(model)
    with pytest.raises(NotImplementedError, match=REFUSED[name]):
        lime_xai.steer(model, inputs, Reweight(), max_new_tokens=2)
    assert model_state(model) == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strength": -1.0}, "strength is -1.0"),
        ({"relevance": "directly"}, "Unknown relevance 'directly'. Did you mean 'direct'"),
        ({"plausibility": 1.0}, "plausibility is 1.0"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Reweight(**settings)


def test_a_soft_cap_on_logits_is_differentiated():
    model, inputs, _ = FAMILIES["paligemma"].build()
    model.config.get_text_config().final_logit_softcapping = 2.0
    image = perceptual_of(model, inputs["input_ids"])
    if model(**inputs).logits.abs().max() > 2:
        pytest.skip("This transformers does not cap the logits of PaliGemma; the next test is about that.")
    found = lime_xai.routes(model, inputs, groups={"seen": image})
    assert found.logits.abs().max() <= 2
    expected = backward_by_logit(model, inputs, torch.tensor([[5]]), image[0], "attnlrp", [3, 47])
    torch.testing.assert_close(found.contributions["seen"][0][:, [3, 47]], expected, rtol=1e-4, atol=1e-6)


def test_a_soft_cap_that_the_model_does_not_apply_is_not_differentiated():
    model, inputs, _ = FAMILIES["llava"].build()
    image = perceptual_of(model, inputs["input_ids"])
    before = lime_xai.routes(model, inputs, groups={"seen": image})
    model.config.get_text_config().final_logit_softcapping = 0.5
    found = lime_xai.routes(model, inputs, groups={"seen": image})
    assert found.logits.abs().max() > 0.5
    assert torch.equal(found.contributions["seen"], before.contributions["seen"])


def test_two_streams_in_one_process_do_not_meet():
    first, inputs, _ = FAMILIES["llava"].build(0)
    second, _, _ = FAMILIES["llava"].build(1)
    alone = lime_xai.steer(second, inputs, Reweight(2.0), max_new_tokens=4, do_sample=False).sequences
    with lime_xai.steering(first, Reweight(2.0)), lime_xai.steering(second, Reweight(2.0)):
        first.generate(**inputs, max_new_tokens=2, do_sample=False)
        assert torch.equal(second.generate(**inputs, max_new_tokens=4, do_sample=False), alone)


def test_a_call_that_ran_plain_has_nothing_to_finish():
    model, _, _ = FAMILIES["llava"].build()
    engine = StreamEngine(Replayer(model))
    assert engine.finish(None) is None
