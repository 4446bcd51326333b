"""What a fault leaves of a cache that the user passed in.

Steering fills it as ``generate`` does: after an exception it holds a part of the sequence and is not to be used again
(said in the docs of ``steer``), but it is an ordinary cache and holds no graph. Attribution does not use it.
"""

from contextlib import nullcontext

import pytest
from support.fault_places import PLACES, Fault
from support.fault_runs import KINDS, chosen
from support.fault_subjects import GREEDY, calibration, fresh
from transformers import DynamicCache

import lime_xai
from lime_xai import Constant, Contrast, Edit, Reweight, UniformGain
from lime_xai.model.cache import CACHE_NAME, slots

PLACED = ("cache_layer_end", "own_code")
POLICIES = {
    "edit": Edit,
    "contrast": Contrast,
    "reweight": lambda: Reweight(relevance="full"),
    "uniform_gain": UniformGain,
    "constant": lambda: Constant(calibration("llava")),
}


class Steered:
    """What places need of a subject."""

    def __init__(self, policy):
        self.policy, self.own = policy, ((type(policy), "step"),)

    def run(self, place, fault):
        """Steer a fresh model with a cache of one's own; return the cache, and how it was before."""
        model, prompts = fresh("llava")
        cache = DynamicCache(config=model.get_decoder().config)
        before = {*vars(cache), "_is_user_defined"}  # the latter is set by generate
        raises = pytest.raises(fault.kind, match="injected") if fault.at else nullcontext()
        with PLACES[place](model, self, fault) as arguments, raises:
            lime_xai.steer(model, prompts[0], self.policy, **GREEDY, **arguments, **{CACHE_NAME: cache})
        return cache, before


def check(subject, place, at, kind):
    """Inject a fault and look at the cache."""
    fault = Fault(at, kind)
    cache, before = subject.run(place, fault)
    assert type(cache) is DynamicCache
    assert set(vars(cache)) <= before
    tensors = [tensor for pair in slots(cache).values() for tensor in pair]
    assert not any(tensor.requires_grad or tensor.is_inference() for tensor in tensors), (place, at)


@pytest.mark.parametrize("place", PLACED)
@pytest.mark.parametrize("name", POLICIES)
def test_a_cache_of_the_users_stays_an_ordinary_one(name, place):
    subject, counted = Steered(POLICIES[name]()), Fault()
    subject.run(place, counted)
    for at, kind in zip(chosen(counted.calls, 2), KINDS, strict=True):
        check(subject, place, at, kind)


def test_a_cache_never_holds_the_graph_of_an_edit():
    subject, counted = Steered(Edit()), Fault()
    subject.run("cache_layer_end", counted)
    for at in range(1, counted.calls + 1):
        check(subject, "cache_layer_end", at, RuntimeError)


@pytest.mark.parametrize("kind", KINDS)
def test_attribution_leaves_a_cache_empty(kind):
    model, prompts = fresh("llava")
    cache = DynamicCache(config=model.get_decoder().config)
    fault = Fault(2, kind)
    with PLACES["layer"](model, None, fault), pytest.raises(kind, match="injected"):
        lime_xai.attribute(model, {**prompts[0], CACHE_NAME: cache}, 5, "feature_ablation")
    assert not slots(cache)
