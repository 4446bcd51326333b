"""Which positions are attended and where a sequence begins, in prompts as people give them."""

from contextlib import suppress

import pytest
import torch
from support.entries import call_entry
from support.families import FAMILIES, batch

import lime_xai
from lime_xai import read_prompt
from lime_xai.model.positions import mask_from_padding, read_positions
from lime_xai.model.recording import record

METHODS = ("attnlrp", "gradient_input", "saliency", "feature_ablation")
ONE = {"max_new_tokens": 1, "do_sample": False, "output_logits": True, "return_dict_in_generate": True}


def without_mask(inputs):
    return {name: value for name, value in inputs.items() if name != "attention_mask"}


@pytest.mark.parametrize("padding", [None, 0, 2, 3])
@pytest.mark.parametrize("end", [None, 2, [2, 3]])
def test_without_a_mask_the_rule_is_that_of_generate(padding, end):
    """The mask that ``generate`` hands to the model is the oracle."""
    model, inputs, _ = FAMILIES["llava"].build()
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = padding, end
    given = {**without_mask(inputs), "input_ids": inputs["input_ids"].clone()}
    given["input_ids"][0, :4] = torch.tensor([0, 2, 3, 5])
    seen = []

    def keep(module, args, kwargs):
        mask = kwargs.get("attention_mask")  # none where all is attended
        seen.append(torch.ones_like(given["input_ids"]) if mask is None else mask)

    with model.register_forward_pre_hook(keep, with_kwargs=True):
        plain = model.generate(**given, **ONE).logits[0]
    assert torch.equal(mask_from_padding(given["input_ids"], model.generation_config), seen[0])
    assert torch.equal(read_prompt(model, given).positions.attended, seen[0].bool())
    for method in METHODS:
        found = lime_xai.attribute(model, given, method=method)
        torch.testing.assert_close(found.logits, plain.amax(-1), rtol=1e-4, atol=1e-4)
        assert torch.equal(found.attended, seen[0].bool())


def test_a_padded_batch_without_its_mask():
    model, joined, singles = batch("llava", 2)
    padding = int(joined["input_ids"][~joined["attention_mask"].bool()][0])
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = padding, None
    found = lime_xai.attribute(model, without_mask(joined))
    for row, inputs in enumerate(singles):
        alone = lime_xai.attribute(model, inputs)
        part = found.relevance[row, -alone.relevance.shape[1] :]
        torch.testing.assert_close(part, alone.relevance[0], rtol=1e-3, atol=1e-5)
    model.generation_config.eos_token_id = padding  # now generate attends to the padding, and so do we
    plain = model.generate(**without_mask(joined), **ONE).logits[0]
    again = lime_xai.attribute(model, without_mask(joined))
    assert bool(again.attended.all())
    torch.testing.assert_close(again.logits, plain.amax(-1))


def on_the_right(given_mask):
    model, inputs, _ = FAMILIES["llava"].build()
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = 0, 2
    longer = {**inputs, "input_ids": torch.cat([inputs["input_ids"], torch.zeros(1, 2, dtype=torch.long)], 1)}
    longer["attention_mask"] = (longer["input_ids"] != 0).long()
    return model, longer if given_mask else without_mask(longer)


@pytest.mark.parametrize("given_mask", [True, False])
@pytest.mark.parametrize("call", ["attribute", "routes", "steer", "steering"])
def test_padding_on_the_right_is_refused(call, given_mask):
    model, inputs = on_the_right(given_mask)
    with pytest.raises(ValueError, match="padded on the right"):
        call_entry(call, model, inputs, "contrast")


def test_recordings_have_the_mask_of_the_positions():
    model, inputs, _ = FAMILIES["llava"].build()
    model.generation_config.pad_token_id = 5
    given = without_mask(inputs)
    prompt = read_prompt(model, given)
    assert not bool(prompt.positions.attended.all())
    plain = []

    def keep(module, args, kwargs):
        plain.append(kwargs["position_ids"])

    with model.get_decoder().register_forward_pre_hook(keep, with_kwargs=True):
        model.generate(**given, **ONE)
    found = record(prompt.replayer, given, prompt.positions).calls[0]
    assert torch.equal(found.kwargs["position_ids"], plain[0])


# The beginning of a sequence ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "mask", "expected"),
    [
        ([1, 5, 6, 7], [1, 1, 1, 1], [0]),
        ([1, 5, 1, 7, 1], [1, 1, 1, 1, 1], [0]),  # a chat template that repeats it
        ([8, 5, 6, 7], [1, 1, 1, 1], [0]),  # a model without one: the first position is the sink
        ([0, 0, 1, 5, 1], [0, 0, 1, 1, 1], [2]),
        ([99, 99, 1, 5, 1], [1, 1, 1, 1, 1], [2]),  # PaliGemma: it stands after the image
        ([99, 99, 8, 5, 1], [1, 1, 1, 1, 1], []),
        ([0, 99, 99, 1, 5], [0, 1, 1, 1, 1], [3]),
    ],
)
def test_the_beginning_is_a_position(ids, mask, expected):
    model, _, _ = FAMILIES["llava"].build()
    found = read_positions(model.config, torch.tensor([ids]), torch.tensor([mask]))
    assert found.bos[0].nonzero()[:, 0].tolist() == expected


def test_a_repeated_token_is_explained_like_any_other():
    model, inputs, _ = FAMILIES["llava"].build()
    ids = inputs["input_ids"].clone()
    ids[0, -3] = 1  # the id of the beginning-of-sequence token, as <|im_start|> in SmolLM2's template
    found = lime_xai.attribute(model, {**inputs, "input_ids": ids}, method="feature_ablation")
    assert float(found.relevance[0, -3]) != 0
    assert float(found.relevance[0, 0]) == 0


@pytest.mark.parametrize("policy", ["edit", "observe", "reweight"])
def test_a_prompt_of_embeddings_is_steered_like_its_ids(policy):
    """Zero ids in place of unknown ones must not change which position is the beginning."""
    model, inputs, _ = FAMILIES["llava"].build()
    settings = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None}
    by_ids = lime_xai.steer(model, inputs, policy, **settings)
    prompt = read_prompt(model, inputs)
    given = {"inputs_embeds": prompt.recording().calls[0].embeddings, "attention_mask": inputs["attention_mask"]}
    by_embeddings = lime_xai.steer(model, given, policy, perceptual=prompt.positions.perceptual, **settings)
    assert torch.equal(by_embeddings.sequences[:, -3:], by_ids.sequences[:, -3:])
    for one, two in zip(by_ids.trace.steps, by_embeddings.trace.steps, strict=True):
        for first, second in zip(one.numbers, two.numbers, strict=True):
            torch.testing.assert_close(first, second)


# Inputs that are no tensors, ids and caches -------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["attribute", "routes", "steer", "read_prompt"])
@pytest.mark.parametrize("kind", ["list", "numpy"])
def test_lists_and_arrays_are_refused(call, kind):
    model, inputs, _ = FAMILIES["llava"].build()
    given = {name: value.tolist() if kind == "list" else value.numpy() for name, value in inputs.items()}
    with pytest.raises(TypeError, match=r"input_ids is (list|ndarray).*return_tensors='pt'"):
        getattr(lime_xai, call)(model, given)


def test_ids_without_an_embedding_are_refused():
    model, inputs, _ = FAMILIES["llava"].build()
    given = {**inputs, "input_ids": inputs["input_ids"].clone()}
    given["input_ids"][0, 1] = 4000
    with pytest.raises(ValueError, match=r"Token ids \[4000\] are out of range; the model has 128 embeddings"):
        lime_xai.attribute(model, given)


@pytest.mark.parametrize("method", ["attnlrp", "saliency", "feature_ablation", "attention_rollout", "stream"])
def test_a_cache_of_an_earlier_turn_is_refused_and_kept(method):
    from transformers import DynamicCache

    from lime_xai.model.cache import CACHE_NAME

    model, inputs, _ = FAMILIES["llava"].build()
    cache = DynamicCache(config=model.config.text_config)
    model(**inputs, use_cache=True, **{CACHE_NAME: cache})
    length = cache.get_seq_length()
    with pytest.raises(ValueError, match="hold a cache of 12 positions; relevance needs the whole prompt"):
        lime_xai.attribute(model, {**inputs, CACHE_NAME: cache}, 5, method)
    assert cache.get_seq_length() == length
    empty = DynamicCache(config=model.config.text_config)
    found = lime_xai.attribute(model, {**inputs, CACHE_NAME: empty}, 5, method)
    torch.testing.assert_close(found.relevance, lime_xai.attribute(model, inputs, 5, method).relevance)
    assert empty.get_seq_length() == 0


@pytest.mark.parametrize("name", [name for name in FAMILIES if name.startswith(("qwen", "glm"))])
@pytest.mark.parametrize("call", ["attribute", "routes", "recording", "calibrate", "compare_attributions"])
def test_stored_position_offsets_are_put_back(name, call):
    """A later turn of a conversation uses the offsets of its own prompt."""
    model, inputs, _ = FAMILIES[name].build()
    places = [module for module in model.modules() if "rope_deltas" in vars(module)]
    if not places:
        pytest.skip("keeps no offsets")
    model.generate(**inputs, max_new_tokens=1, do_sample=False)
    before = [module.rope_deltas for module in places]
    text = {"input_ids": torch.tensor([[1, 5, 6, 7]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    with suppress(NotImplementedError):  # some families have no stream
        if call == "attribute":
            lime_xai.attribute(model, text, [5, 6], method="gradient_input")
        elif call == "recording":
            read_prompt(model, text).recording(torch.tensor([[5, 6]]))
        elif call == "calibrate":
            lime_xai.calibrate(model, [inputs], gains=False, max_new_tokens=1, progress=False)
        elif call == "compare_attributions":
            lime_xai.compare_attributions(model, text, "gradient_input", "residual", target=5, progress=False)
        else:
            lime_xai.routes(model, text)
    assert [module.rope_deltas is value for module, value in zip(places, before, strict=True)] == [True] * len(places)
