"""The plausibility mask acts on what generate's processors leave, and never excludes everything."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.families import FAMILIES, batch
from transformers import (
    LogitNormalization,
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
)

import lime_xai
from lime_xai import POLICIES
from lime_xai.generation.plausibility import PlausibilityMask, plausible, with_mask

MASKED = sorted(name for name, make in POLICIES.items() if make().needs.plausibility > 0)
NEW = 5


class Ban(LogitsProcessor):
    """Allows some tokens only."""

    def __init__(self, allowed):
        self.allowed = allowed

    def __call__(self, input_ids, scores):
        banned = torch.ones_like(scores, dtype=torch.bool)
        banned[:, self.allowed] = False
        return scores.masked_fill(banned, -torch.inf)


class KeepPlain(lime_xai.Policy):
    """Changes nothing; keeps the model's own logits."""

    def __init__(self):
        self.seen = []

    def step(self, step):
        self.seen.append(step.plain.clone())
        return step.logits


def by_hand(scores, plain, fraction):
    """The definition, token by token."""
    result = []
    for row, own in zip(scores.tolist(), plain.double().softmax(-1).tolist(), strict=True):
        allowed = [t for t, score in enumerate(row) if score > -math.inf]
        best = max((own[t] for t in allowed), default=0.0)
        result.append([t in allowed and own[t] >= fraction * best for t in range(len(row))])
    return torch.tensor(result)


@given(st.integers(1, 3), st.integers(1, 8), st.floats(0.01, 0.99), st.floats(0, 1), st.integers(0, 999), st.booleans())
def test_the_mask_is_that_of_the_definition(rows, tokens, fraction, banned, seed, keep_total):
    generator = torch.Generator().manual_seed(seed)
    plain = 5 * torch.randn(rows, tokens, generator=generator, dtype=torch.float64)
    scores = torch.randn(rows, tokens, generator=generator, dtype=torch.float64)
    scores = scores.masked_fill(torch.rand(rows, tokens, generator=generator) < banned, -torch.inf)
    found = plausible(scores, plain, fraction, keep_total)
    kept = by_hand(scores, plain, fraction)
    assert torch.equal(found > -torch.inf, kept)
    some = kept.any(-1)
    assert torch.equal(some, (scores > -torch.inf).any(-1))
    if keep_total:
        torch.testing.assert_close(found[some].logsumexp(-1), scores[some].logsumexp(-1))
        differences = (found - scores)[some]
        for row, inside in zip(differences, kept[some], strict=True):
            torch.testing.assert_close(row[inside], row[inside][:1].expand(int(inside.sum())))
    else:
        assert torch.equal(found[kept], scores[kept])


def test_the_mask_stands_between_what_bans_and_what_narrows():
    mask, ban, top = PlausibilityMask(0.1, False), Ban([1]), TopKLogitsWarper(2)
    last = [TemperatureLogitsWarper(0.5), top, LogitNormalization()]
    assert list(with_mask(LogitsProcessorList([ban, *last]), mask))[1:] == [ban, mask, *last]
    assert list(with_mask(LogitsProcessorList([top, ban]), mask))[1:] == [top, ban, mask]
    assert list(with_mask(LogitsProcessorList(last), mask)) == [mask, *last]
    assert list(with_mask(None, mask)) == [mask]


class Added(LogitsProcessor):
    """Adds a number to the scores of some tokens, or sets them to it, in place as many processors do."""

    def __init__(self, tokens, number, instead):
        self.tokens, self.number, self.instead = tokens, number, instead

    def __call__(self, input_ids, scores):
        if self.instead:
            scores[:, self.tokens] = self.number
        else:
            scores[:, self.tokens] += self.number
        return scores


class Scaled(LogitsProcessor):
    """A temperature of a user's own."""

    def __call__(self, input_ids, scores):
        return scores / 3


BANS = {
    "-1e9 instead": (-1e9, True),
    "the lowest number instead": (torch.finfo(torch.float32).min, True),
    "-100 added": (-100.0, False),
}
MODES = {
    "greedy": {"do_sample": False},
    "sample": {"do_sample": True},
    "beams": {"do_sample": False, "num_beams": 3},
    "beam_sample": {"do_sample": True, "num_beams": 3},
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ban", BANS)
@pytest.mark.parametrize("name", MASKED)
def test_a_ban_by_a_finite_number_is_a_ban(name, ban, mode):
    model, inputs, _ = FAMILIES["llava"].build()
    settings = {"max_new_tokens": NEW, "eos_token_id": None}
    plain = model.generate(**inputs, **settings, do_sample=False, output_logits=True, return_dict_in_generate=True)
    banned = torch.stack(plain.logits).amax(0)[0].topk(20).indices.tolist()
    torch.manual_seed(0)
    processors = LogitsProcessorList([Added(banned, *BANS[ban])])
    found = lime_xai.steer(model, inputs, POLICIES[name](), **settings, **MODES[mode], logits_processor=processors)
    assert not set(found.sequences[0, -NEW:].tolist()) & set(banned)


@pytest.mark.parametrize(
    "settings",
    [
        {"sequence_bias": [[[17], 50.0]]},
        {"sequence_bias": [[[17], -50.0], [[18], 3.0]]},
        {"repetition_penalty": 3.0},
        {"exponential_decay_length_penalty": (1, 50.0), "eos_token_id": 5},
        {"logits_processor": LogitsProcessorList([Scaled()])},
        {"logits_processor": LogitsProcessorList([Added([17], 30.0, False)]), "renormalize_logits": True},
    ],
    ids=lambda settings: next(iter(settings)),
)
@pytest.mark.parametrize("fraction", [0.1, 0.999])
def test_a_mask_alone_never_excludes_what_the_processed_plain_model_says(settings, fraction):
    model, inputs, _ = FAMILIES["llava"].build()
    asked = {"max_new_tokens": NEW, **settings}
    plain = model.generate(**inputs, do_sample=False, **asked)
    found = lime_xai.steer(model, inputs, lime_xai.Plausible(fraction), do_sample=False, **asked)
    assert torch.equal(found.sequences, plain)


def words(plain, fraction, allowed):
    """Allowed tokens that are plausible among the allowed ones."""
    own = plain.double().softmax(-1)
    best = own[allowed].max()
    return {t for t in allowed if own[t] >= fraction * best}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", MASKED)
def test_a_ban_and_the_mask_leave_a_candidate_at_every_token(name, mode):
    """The model's most probable tokens are banned: a mask that came first would exclude all others."""
    model, inputs, _ = FAMILIES["llava"].build()
    settings = {"max_new_tokens": NEW, "eos_token_id": None, "return_dict_in_generate": True, "output_scores": True}
    plain = model.generate(**inputs, **settings, do_sample=False, output_logits=True).logits
    allowed = torch.stack(plain).mean(0)[0].argsort()[10:20].tolist()
    torch.manual_seed(0)
    keep = KeepPlain()
    output = lime_xai.steer(
        model,
        inputs,
        [keep, POLICIES[name]()],
        logits_processor=LogitsProcessorList([Ban(allowed)]),
        **settings,
        **MODES[mode],
    )
    assert set(output.sequences[0, -NEW:].tolist()) <= set(allowed)
    fraction = POLICIES[name]().needs.plausibility
    for scores, own in zip(output.generation.scores, keep.seen, strict=True):
        for row, ours in zip(scores, own, strict=True):
            left = set((row > -torch.inf).nonzero()[:, 0].tolist())
            assert left
            assert left <= words(ours, fraction, allowed)
            if mode in ("greedy", "beams"):
                assert left == words(ours, fraction, allowed)


def test_the_mask_narrows_before_top_k():
    """The best steered token may be implausible; top-k must not keep it alone."""
    model, inputs, _ = FAMILIES["llava"].build()
    plain = model.generate(**inputs, max_new_tokens=1, do_sample=False)[0, -1].item()
    shift = lime_xai.LogitShift({17: 1000.0})
    for settings in ({"do_sample": False}, {"do_sample": True, "top_k": 1}):
        found = lime_xai.steer(model, inputs, [shift, lime_xai.Plausible(0.999)], max_new_tokens=1, **settings)
        assert found.sequences[0, -1] == plain


def test_scores_of_beams_are_log_probabilities_among_plausible_tokens():
    model, inputs, _ = FAMILIES["llava"].build()
    settings = {"max_new_tokens": 1, "num_beams": 4, "do_sample": False, "eos_token_id": None}
    output = lime_xai.steer(
        model, inputs, lime_xai.Plausible(0.5), return_dict_in_generate=True, output_scores=True, **settings
    ).generation
    torch.testing.assert_close(output.scores[0].logsumexp(-1), torch.zeros(4))


@pytest.mark.parametrize("name", MASKED)
def test_a_loop_of_ones_own_gets_masked_logits(name):
    model, inputs, _ = FAMILIES["llava"].build()
    from transformers import DynamicCache

    from lime_xai.model.cache import CACHE_NAME

    with torch.no_grad(), lime_xai.steering(model, name):
        model.generate(**inputs, max_new_tokens=2, do_sample=False)  # a generation before it leaves nothing behind
        cache = DynamicCache(config=model.config.text_config)
        logits = model(**inputs, use_cache=True, **{CACHE_NAME: cache}).logits[:, -1]
    plain = model(**inputs).logits[:, -1]
    expected = plain.softmax(-1) >= POLICIES[name]().needs.plausibility * plain.softmax(-1).max()
    assert torch.equal(logits > -torch.inf, expected)


class BanByLast(LogitsProcessor):
    """Bans every token whose id is odd or even as the last one's."""

    def __call__(self, input_ids, scores):
        same = (torch.arange(scores.shape[-1])[None] - input_ids[:, -1:]) % 2 == 0
        return scores.masked_fill(same, -torch.inf)


def test_rows_of_a_batch_are_masked_by_their_own_bans():
    model, joined, singles = batch("llava", 3)
    ban = LogitsProcessorList([BanByLast()])
    settings = {"max_new_tokens": 4, "do_sample": False, "logits_processor": ban, "eos_token_id": None}
    together = lime_xai.steer(model, joined, "contrast", **settings).sequences[:, -4:]
    for row, inputs in enumerate(singles):
        alone = lime_xai.steer(model, inputs, "contrast", **settings).sequences[0, -4:]
        assert torch.equal(together[row], alone)
