"""Steering inside generate: nothing else changes, everything is restored."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from support.families import FAMILIES, batch
from transformers.generation.streamers import BaseStreamer

import lime_xai
from lime_xai import Contrast, Edit, Needs, Observe, Policy, RelevanceObjective, UniformGain
from lime_xai.evaluation.conformance.state import model_state

ATTRIBUTABLE = [name for name, family in FAMILIES.items() if family.attributable]
RECURRENT = {"qwen3_5_moe"}
EDITABLE = [name for name in ATTRIBUTABLE if name not in RECURRENT]
FEW_STEPS = 3
"""Of the paper's edit, which takes eight: nothing here depends on how many, and each is a double backward pass."""

ACTIVE = {
    "edit": Edit(),
    "free": Edit(deltas="free", edit="both", learning_rate=0.05, steps=1, positions="all"),
    "paper": replace(Edit.paper(learning_rate=0.01), steps=FEW_STEPS),
    "contrast": Contrast(),
    "contrast_slot": Contrast("slot"),
    "contrast_noise": Contrast("noise"),
    "uniform": UniformGain(),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_zero_steps_are_bit_identical_to_generate(family):
    model, inputs, _ = FAMILIES[family].build()
    settings = {"max_new_tokens": 4, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
    plain = model.generate(**inputs, **settings)
    before = model_state(model)
    steered = lime_xai.steer(model, inputs, Edit(steps=0), **settings).generation
    assert torch.equal(plain.sequences, steered.sequences)
    assert all(torch.equal(a, b) for a, b in zip(plain.logits, steered.logits, strict=True))
    assert model_state(model) == before


@pytest.mark.parametrize("family", EDITABLE)
def test_observing_changes_no_logit(family):
    model, inputs, _ = FAMILIES[family].build()
    settings = {"max_new_tokens": 4, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
    plain = model.generate(**inputs, **settings)
    output = lime_xai.steer(model, inputs, Observe(), **settings)
    assert all(torch.equal(a, b) for a, b in zip(plain.logits, output.generation.logits, strict=True))
    shares = torch.stack([step.share_before for step in output.trace.steps])
    assert bool(((shares >= 0) & (shares < 1)).all())


@pytest.mark.parametrize("family", EDITABLE)
@pytest.mark.parametrize("policy", ["edit", "paper", "contrast"])
def test_policies_change_logits_and_leave_the_model_alone(family, policy):
    model, inputs, _ = FAMILIES[family].build()
    settings = {"max_new_tokens": 2, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}
    plain = model.generate(**inputs, **settings)
    before = model_state(model)
    output = lime_xai.steer(model, inputs, ACTIVE[policy], **settings)
    assert not torch.equal(plain.logits[0], output.generation.logits[0])
    again = model.generate(**inputs, **settings)
    assert all(torch.equal(a, b) for a, b in zip(plain.logits, again.logits, strict=True))
    assert model_state(model) == before
    assert len(output.trace) == 2


@pytest.mark.parametrize("family", ATTRIBUTABLE)
def test_repeating_a_step_gives_its_own_logits(family):
    """Recorded calls over forked caches, and over the whole sequence, are the step itself."""
    from lime_xai.model.decoder_call import merged
    from lime_xai.model.gradients import DifferentiableCall, forward_sequence

    model, inputs, _ = FAMILIES[family].build()
    differences = []

    class Compare(Observe):
        needs = Needs(past=True, history=True)

        def step(self, step):
            leaves = [DifferentiableCall.of(call) for call in merged(step.history)]
            with torch.no_grad():
                again = [step.logits_with(step.fork()), forward_sequence(step.replayer, leaves)[:, -1]]
            differences.extend(float((z - step.plain).abs().max() / step.plain.abs().max()) for z in again)
            return step.logits

    lime_xai.steer(model, inputs, Compare(), max_new_tokens=3, do_sample=False)
    assert len(differences) == 6
    assert max(differences) < 1e-5


@pytest.mark.parametrize("policy", ACTIVE)
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_inside_generate_leaves_nothing_behind(policy, error):
    model, inputs, _ = FAMILIES["llava"].build()
    plain = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    before = model_state(model)

    class Interrupt(Policy):
        needs = Needs(past=True)

        def step(self, step):
            if step.index == 1:
                raise error("stop")
            return step.logits

    with pytest.raises(error):
        lime_xai.steer(model, inputs, [ACTIVE[policy], Interrupt()], max_new_tokens=3)
    assert model_state(model) == before
    assert torch.equal(model.generate(**inputs, max_new_tokens=3, do_sample=False), plain)
    lime_xai.steer(model, inputs, ACTIVE[policy], max_new_tokens=1)


@pytest.mark.parametrize("policy", ACTIVE)
def test_an_exception_in_the_middle_of_a_relevance_pass_is_undone(policy, monkeypatch):
    model, inputs, _ = FAMILIES["qwen2_audio"].build()
    before = model_state(model)
    calls = []

    def fail(*args):
        calls.append(args)
        if len(calls) == 9:
            raise ZeroDivisionError("inside the decoder")

    handle = model.get_decoder().layers[1].register_forward_hook(fail)
    with pytest.raises(ZeroDivisionError):
        lime_xai.steer(model, inputs, ACTIVE[policy], max_new_tokens=9, min_new_tokens=9)
    handle.remove()
    assert model_state(model) == before


def test_two_models_sharing_one_config_do_not_disturb_each_other():
    first, inputs, _ = FAMILIES["llava"].build()
    second = type(first)(first.config).eval()
    second.load_state_dict(first.state_dict())
    plain = second.generate(**inputs, max_new_tokens=3, do_sample=False)
    seen = []

    class Other(Observe):
        def step(self, step):
            seen.append(second.generate(**inputs, max_new_tokens=3, do_sample=False))
            return super().step(step)

    lime_xai.steer(first, inputs, Other(), max_new_tokens=2)
    with lime_xai.steering(first, Edit()), lime_xai.steering(second, Edit(steps=0)):
        seen.append(second.generate(**inputs, max_new_tokens=3, do_sample=False))
    assert len(seen) == 3
    assert all(torch.equal(tokens, plain) for tokens in seen)


@pytest.mark.parametrize("family", ["llava", "qwen2_audio"])
@pytest.mark.parametrize("policy", ACTIVE)
def test_batch_and_padding_do_not_change_a_row(family, policy):
    model, inputs = batch(family, 3)[:2]
    assert not bool(inputs["attention_mask"].all())
    settings = {"max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False}
    settings |= {"output_logits": True, "return_dict_in_generate": True}
    together = lime_xai.steer(model, inputs, ACTIVE[policy], **settings).generation
    for row in range(3):
        alone = {}
        keep = inputs["attention_mask"][row].bool()
        for name, value in inputs.items():
            part = value[row : row + 1]
            alone[name] = part[:, keep] if value.shape[1:] == keep.shape else part
        single = lime_xai.steer(model, alone, ACTIVE[policy], **settings).generation
        a, b = (out.logits[0][index].clamp(min=-1e4) for out, index in ((single, 0), (together, row)))
        assert torch.allclose(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("policy", ACTIVE)
def test_beams_sampling_streaming_and_the_custom_loop(policy):
    model, inputs, _ = FAMILIES["llava"].build()
    length = inputs["input_ids"].shape[1]
    beams = lime_xai.steer(model, inputs, ACTIVE[policy], max_new_tokens=4, num_beams=3, do_sample=False)
    assert beams.sequences.shape[0] == 1
    assert beams.trace.steps[0].token_after.shape == (3,)

    sampled = []
    for _ in range(2):
        torch.manual_seed(1)
        kwargs = {"max_new_tokens": 4, "do_sample": True, "num_return_sequences": 2}
        sampled.append(lime_xai.steer(model, inputs, ACTIVE[policy], **kwargs).sequences)
    assert torch.equal(*sampled)

    class Keep(BaseStreamer):
        def __init__(self):
            self.tokens, self.ended = [], False

        def put(self, value):
            self.tokens += value.flatten().tolist()

        def end(self):
            self.ended = True

    streams = [Keep(), Keep()]
    kwargs = {"max_new_tokens": 4, "do_sample": False}
    output = lime_xai.steer(model, inputs, ACTIVE[policy], streamer=streams[0], **kwargs)
    custom = model.generate(
        **inputs,
        **kwargs,
        custom_generate=lime_xai.steered_generate,
        policy=ACTIVE[policy],
        token_streamer=streams[1],
    )
    assert torch.equal(custom, output.sequences)
    assert streams[0].tokens == streams[1].tokens == output.sequences[0].tolist()
    assert all(stream.ended for stream in streams)
    assert len(output.trace) == output.sequences.shape[1] - length


def test_beam_search_equals_a_manual_beam_over_steered_logits():
    """The edit of each beam sees that beam's own past, also for policies with state of their own."""
    model, inputs, _ = FAMILIES["llava"].build()
    for policy in (Contrast(plausibility=0.0), replace(Edit.paper(learning_rate=0.02), steps=FEW_STEPS)):
        found = lime_xai.steer(
            model, inputs, policy, max_new_tokens=3, num_beams=2, do_sample=False, length_penalty=0.0
        ).sequences[0]
        assert found.tolist() == manual_beam(model, inputs, policy, beams=2, length=3)


def manual_beam(model, inputs, policy, beams, length):
    alive = [(0.0, [])]
    for _ in range(length):
        grown = []
        for score, tokens in alive:
            logits = steered_next(model, inputs, policy, tokens)
            grown += [(score + float(v), [*tokens, i]) for i, v in enumerate(logits.log_softmax(-1))]
        alive = sorted(grown, reverse=True)[:beams]
    return inputs["input_ids"][0].tolist() + alive[0][1]


def steered_next(model, inputs, policy, tokens):
    """Steered logits after forced tokens, one row, no beams."""
    from transformers import LogitsProcessorList

    from lime_xai.model.recording import ForcedTokens

    forced = torch.tensor([tokens], dtype=torch.long).reshape(1, -1)
    processor = LogitsProcessorList([ForcedTokens(forced, inputs["input_ids"].shape[1])])
    output = lime_xai.steer(
        model,
        inputs,
        policy,
        max_new_tokens=len(tokens) + 1,
        do_sample=False,
        eos_token_id=127,
        logits_processor=processor,
        output_logits=True,
        return_dict_in_generate=True,
    )
    return output.generation.logits[len(tokens)][0]


def test_inference_mode_and_a_perceptual_mask_of_ones_own():
    model, inputs, ids = FAMILIES["llava"].build()
    mask = inputs["input_ids"] == ids["image"]
    kwargs = {"max_new_tokens": 3, "do_sample": False}
    wanted = lime_xai.steer(model, inputs, **kwargs).sequences
    with torch.inference_mode():
        assert torch.equal(lime_xai.steer(model, inputs, **kwargs).sequences, wanted)
    assert torch.equal(lime_xai.steer(model, inputs, perceptual=mask, **kwargs).sequences, wanted)


def test_edits_lower_the_objective_and_raise_the_share():
    model, inputs, _ = FAMILIES["llava"].build()
    objective = RelevanceObjective(form="difference", target="expected", kl_weight=0.0)
    trace = lime_xai.steer(model, inputs, Edit(objective=objective, learning_rate=0.1), max_new_tokens=3).trace
    losses = torch.stack([step.losses[:, 0] for step in trace.steps])
    assert bool((losses[:, -1] < losses[:, 0]).all())
    data = trace.to_dict()
    assert [row["index"] for row in data["steps"]] == [0, 1, 2]


@pytest.mark.parametrize("family", sorted(RECURRENT))
@pytest.mark.parametrize("policy", ["edit", "paper"])
def test_recurrent_layers_are_refused_by_name(family, policy):
    model, inputs, _ = FAMILIES[family].build()
    with pytest.raises(ValueError, match="linear attention with a recurrent state"):
        lime_xai.steer(model, inputs, ACTIVE[policy], max_new_tokens=1)


def test_layers_and_positions_are_respected():
    model, inputs, _ = FAMILIES["llava"].build()
    seen = {}
    for layers in (None, (0,), (-1,)):
        policy = Edit(layers=layers, plausibility=0.0)
        output = lime_xai.steer(
            model, inputs, policy, max_new_tokens=1, output_logits=True, return_dict_in_generate=True
        )
        seen[layers] = output.generation.logits[0]
    assert not torch.equal(seen[None], seen[(0,)])
    assert not torch.equal(seen[(0,)], seen[(-1,)])
    with pytest.raises(ValueError, match=r"layers \[3\] are out of range; the decoder has 3 layers"):
        lime_xai.steer(model, inputs, Edit(layers=(3,)), max_new_tokens=1)


def test_steering_needs_no_more_than_one_partial_application():
    """``functools.partial`` of the custom loop works as well as keywords."""
    model, inputs, _ = FAMILIES["llava"].build()
    loop = partial(lime_xai.steered_generate, policy="edit")
    plain = lime_xai.steer(model, inputs, "edit", max_new_tokens=3, do_sample=False).sequences
    assert torch.equal(model.generate(**inputs, max_new_tokens=3, do_sample=False, custom_generate=loop), plain)


@pytest.mark.parametrize("policy", ["edit", "paper"])
def test_half_precision_models_are_edited_with_precise_losses(policy):
    model, inputs, _ = FAMILIES["llava"].build()
    model.bfloat16()
    inputs = {k: v.bfloat16() if v.is_floating_point() else v for k, v in inputs.items()}
    step = lime_xai.steer(model, inputs, ACTIVE[policy], max_new_tokens=1).trace.steps[0]
    assert step.losses.dtype == step.divergences.dtype == torch.float32
    assert bool((step.divergences[1:] > 0).all()), "bfloat16 would round these to zero or below"


@pytest.mark.parametrize("scope", ["sequence", "cache"])
@pytest.mark.parametrize("policy", [Edit, Observe], ids=lambda kind: kind.__name__)
def test_beams_inside_inference_mode(policy, scope):
    model, inputs, _ = FAMILIES["llava"].build()
    chosen = replace(Edit.paper(scope), steps=FEW_STEPS) if policy is Edit else Observe(scope=scope)
    settings = {"max_new_tokens": 4, "do_sample": False, "num_beams": 2, "eos_token_id": None}
    wanted = lime_xai.steer(model, inputs, chosen, **settings).sequences
    with torch.inference_mode():
        found = lime_xai.steer(model, inputs, chosen, **settings).sequences
    assert torch.equal(found, wanted)


@pytest.mark.parametrize("how", ["steer", "steering"])
def test_a_checkpoint_that_names_a_hybrid_cache(how):
    """As Gemma's generation_config.json does; generate uses a dynamic cache."""
    model, inputs, _ = FAMILIES["gemma3"].build()
    settings = {"max_new_tokens": 3, "do_sample": False}
    wanted = lime_xai.steer(model, inputs, "contrast", **settings).sequences
    model.generation_config.cache_implementation = "hybrid"
    if how == "steer":
        found = lime_xai.steer(model, inputs, "contrast", **settings).sequences
    else:
        with lime_xai.steering(model, "contrast"):
            found = model.generate(**inputs, **settings)
    assert torch.equal(found, wanted)
