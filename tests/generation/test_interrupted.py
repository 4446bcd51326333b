"""An interrupted call of a model: what continues inside the same context, and what other threads wait for.

PyTorch runs no hook after a KeyboardInterrupt, also not those that are registered with ``always_call``.
"""

import threading
from dataclasses import replace
from functools import wraps
from unittest.mock import patch

import pytest
import torch
from support.families import FAMILIES
from transformers import DynamicCache, LogitsProcessor, LogitsProcessorList

import lime_xai
from lime_xai import Contrast, Edit, LogitShift, Reweight
from lime_xai.model.cache import CACHE_NAME, given_cache

GREEDY = {"max_new_tokens": 3, "do_sample": False, "return_dict_in_generate": True, "output_scores": True}
KINDS = [RuntimeError, KeyboardInterrupt]
POLICIES = [Edit(), replace(Edit.paper("cache"), steps=1), Contrast(), Reweight()]


@pytest.fixture
def llava():
    model, inputs, _ = FAMILIES["llava"].build()
    return model, inputs


def interrupted(model, kind, at):
    """Context in which the ``at``-th call of the output embeddings raises, after the decoder has run."""
    head, ran = model.get_output_embeddings(), []
    original = type(head).forward

    def forward(module, *args):
        if module is head:
            ran.append(1)
            if len(ran) == at:
                raise kind("injected")
        return original(module, *args)

    return patch.object(type(head), "forward", forward)


def loop(model, inputs, tokens=3):
    """Greedy decoding in a loop of one's own: ``[tokens, V]`` logits."""
    cache, kwargs, found = DynamicCache(config=model.get_decoder().config), dict(inputs), []
    for _ in range(tokens):
        output = model(**kwargs, use_cache=True, **{CACHE_NAME: cache})
        found.append(output.logits[0, -1].detach().clone())
        mask = torch.ones(1, int(kwargs["attention_mask"].shape[1]) + 1, dtype=torch.long)
        kwargs = {"input_ids": found[-1].argmax()[None, None], "attention_mask": mask}
    return torch.stack(found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: type(policy).__name__)
def test_generation_goes_on_in_the_same_context(policy, kind, llava):
    model, inputs = llava
    right = lime_xai.steer(model, inputs, policy, **GREEDY).generation
    with lime_xai.steering(model, policy) as trace:
        for at in (1, 2, 3):
            with interrupted(model, kind, at), pytest.raises(kind, match="injected"):
                model.generate(**inputs, **GREEDY)
        before = len(trace.steps)
        found = model.generate(**inputs, **GREEDY)
    assert len(trace.steps) == before + 3
    assert torch.equal(found.sequences, right.sequences)
    assert all(map(torch.equal, found.scores, right.scores))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("policy", [Edit(), Contrast()], ids=lambda policy: type(policy).__name__)
def test_a_loop_of_ones_own_goes_on_in_the_same_context(policy, kind, llava):
    model, inputs = llava
    with torch.no_grad(), lime_xai.steering(model, policy):
        right = loop(model, inputs)
    with torch.no_grad(), lime_xai.steering(model, policy):
        for at in range(1, 100):
            # Inside the model's own call an edit has gradients on, which nobody but the session switches off again.
            modes = []
            try:
                with interrupted(model, kind, at):
                    loop(model, inputs)
            except kind:
                modes.append(torch.is_grad_enabled())
            assert torch.equal(loop(model, inputs), right)
            if not modes:
                break
            assert modes == [False]
    assert at > 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_waiting_thread_goes_on_after_an_interrupted_call(kind, llava):
    """A plain request in another thread takes turns with the calls of the steered generation."""
    model, inputs = llava
    right, found, errors = model.generate(**inputs, **GREEDY).sequences, [], []

    def request():
        try:
            found.append(model.generate(**inputs, **GREEDY).sequences)
        except BaseException as error:
            errors.append(error)

    class Starts(LogitsProcessor):
        """Starts the request, whose first call then waits for the end of the model's next one."""

        def __call__(self, input_ids, scores):
            if not other.ident:
                other.start()
            return scores

    other = threading.Thread(target=request, daemon=True)
    with interrupted_in_this_thread(model, kind, after=2), pytest.raises(kind, match="injected"):
        lime_xai.steer(model, inputs, LogitShift({5: 1.0}), **GREEDY, logits_processor=LogitsProcessorList([Starts()]))
    other.join(20)
    assert not other.is_alive()
    assert not errors
    assert torch.equal(found[0], right)


def interrupted_in_this_thread(model, kind, after):
    """Context in which this thread's ``after``-th call of the model with a cache that is not empty raises."""
    this, ran = threading.get_ident(), []
    original = type(model).forward

    @wraps(original)
    def forward(module, *args, **kwargs):
        if module is model and threading.get_ident() == this and given_cache(kwargs) is not None:
            ran.append(1)
            if len(ran) == after:
                raise kind("injected")
        return original(module, *args, **kwargs)

    return patch.object(type(model), "forward", forward)


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_request_inside_a_generation_leaves_the_steering_on(kind, llava):
    """A logits processor calls the model for a score, and goes on without it."""
    model, inputs = llava
    right = lime_xai.steer(model, inputs, Edit(), **GREEDY).generation

    class Scores(LogitsProcessor):
        def __call__(self, input_ids, scores):
            with interrupted(model, kind, 1), pytest.raises(kind, match="injected"):
                model(**inputs)
            return scores

    found = lime_xai.steer(model, inputs, Edit(), **GREEDY, logits_processor=LogitsProcessorList([Scores()]))
    assert torch.equal(found.generation.sequences, right.sequences)
    assert all(map(torch.equal, found.generation.scores, right.scores))
    assert len(found.trace.steps) == 3
