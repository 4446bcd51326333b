"""A decoder that continues by several tokens other than by one after the other is refused."""

from dataclasses import replace

import pytest
import torch
from support.families import FAMILIES, batch

import lime_xai
from lime_xai import METHODS, Edit, Observe

ANSWER = [5, 9, 12, 30]  # three are run in one call, after the prompt


def several_tokens_differ(model, count=3):
    """Make the decoder give other hidden states wherever it continues a cache by ``count`` tokens at once."""
    decoder = model.get_decoder()

    def change(module, args, kwargs, output):
        embeddings = kwargs["inputs_embeds"] if kwargs.get("inputs_embeds") is not None else kwargs["input_ids"]
        if embeddings.shape[1] == count:
            output.last_hidden_state = output.last_hidden_state * torch.linspace(
                -1, 1, output.last_hidden_state.shape[-1]
            )
        return output

    return decoder.register_forward_hook(change, with_kwargs=True)


@pytest.mark.parametrize("per_token", [True, False])
@pytest.mark.parametrize("method", ["attnlrp", "saliency", "feature_ablation", "eagle"])
def test_other_logits_are_refused_and_one_token_still_works(method, per_token):
    assert method in METHODS
    model, inputs, _ = FAMILIES["llava"].build()
    handle = several_tokens_differ(model)
    with pytest.raises(NotImplementedError, match=r"other logits for several tokens in one .* Explain one"):
        lime_xai.attribute(model, inputs, ANSWER, method, per_token=per_token)
    assert lime_xai.attribute(model, inputs, ANSWER[0], method).relevance.any()
    assert lime_xai.attribute(model, inputs, ANSWER[:3], method, per_token=per_token).relevance.any()
    handle.remove()
    assert lime_xai.attribute(model, inputs, ANSWER, method, per_token=per_token).relevance.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounding_is_no_difference(dtype):
    model, inputs, _ = FAMILIES["llava"].build()
    inputs = {key: value.to(dtype) if value.is_floating_point() else value for key, value in inputs.items()}
    assert lime_xai.attribute(model.to(dtype), inputs, ANSWER).relevance.any()


def test_a_model_is_checked_once():
    model, inputs, _ = batch("llava", 2)
    ids = torch.tensor([ANSWER, [7, 8, -100, -100]])
    seen = []
    model.get_decoder().register_forward_pre_hook(lambda *call: seen.append(1))
    counts = []
    for _ in range(3):
        before = len(seen)
        assert lime_xai.attribute(model, inputs, ids, "gradient_input").relevance.any()
        counts.append(len(seen) - before)
    assert counts[0] > counts[1] == counts[2]


def test_a_prompt_that_was_read_before_is_checked_too():
    model, inputs, _ = FAMILIES["llava"].build()
    prompt = lime_xai.read_prompt(model, inputs)
    lime_xai.attribute(model, prompt, 5)
    several_tokens_differ(model)
    for _ in range(2):
        with pytest.raises(NotImplementedError, match="other logits"):
            lime_xai.attribute(model, prompt, ANSWER)


SEQUENCE = {"edit": replace(Edit.paper(), steps=1), "observe": Observe(scope="sequence")}


@pytest.mark.parametrize("policy", SEQUENCE)
@pytest.mark.parametrize("family", ["llava", "llava_mistral_sliding", "qwen3_vl", "aya_vision", "qwen2_audio"])
def test_the_sequence_scope_refuses_such_a_decoder_and_the_cache_scope_does_not_need_it(family, policy):
    model, inputs, _ = FAMILIES[family].build()
    settings = {"max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False}
    plain = model.generate(**inputs, **settings)
    handle = several_tokens_differ(model, 2)
    with pytest.raises(NotImplementedError, match=r'other logits for several tokens in one .* Use scope="cache"'):
        lime_xai.steer(model, inputs, SEQUENCE[policy], **settings)
    assert torch.equal(model.generate(**inputs, **settings), plain)
    lime_xai.steer(model, inputs, SEQUENCE[policy], max_new_tokens=2)  # nothing is merged yet
    lime_xai.steer(model, inputs, replace(SEQUENCE[policy], scope="cache"), **settings)
    handle.remove()
    assert len(lime_xai.steer(model, inputs, SEQUENCE[policy], **settings).trace) == 3


def test_the_sequence_scope_checks_a_model_once():
    model, inputs, _ = batch("llava", 2)
    seen = []
    lime_xai.steer(model, inputs, Observe(scope="sequence"), max_new_tokens=1)  # its gradients are checked once as well
    model.get_decoder().register_forward_pre_hook(lambda *call: seen.append(1))
    counts = []
    for _ in range(3):
        before = len(seen)
        lime_xai.steer(model, inputs, Observe(scope="sequence"), max_new_tokens=4, min_new_tokens=4, do_sample=False)
        counts.append(len(seen) - before)
    assert counts[0] == counts[1] + 2  # the prompt, and two tokens in one call
    assert counts[1] == counts[2]
