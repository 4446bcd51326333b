"""Dataclasses that hold tensors can be compared, printed, copied and pickled."""

import copy
import dataclasses
import importlib
import pickle
import pkgutil
import re

import numpy as np
import pytest
import torch
from support.families import FAMILIES
from support.steps import captured_step
from transformers import DynamicCache
from zennit.rules import Epsilon

import lime_rules
import lime_xai
from lime_rules import LRP_METHODS, AttnLRP
from lime_xai import METHODS, POLICIES, Calibration, Comparison, Constant, Contrast, Edit, Groups, Span
from lime_xai.attribution.targets import Target
from lime_xai.model.positions import Positions
from lime_xai.model.records import Content, ShortRepr, same

HELD = re.compile(r"\b(Tensor|Cache|NDArray|ndarray|Floats|DecoderCall)\b")


def dataclasses_of_the_packages():
    """Every dataclass of this package and of the rules."""
    for package in (lime_rules, lime_xai):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if found.name.endswith("__main__") or found.name.startswith("lime_xai.integrations."):
                continue  # a command, and what needs another engine to be imported
            for item in vars(importlib.import_module(found.name)).values():
                if isinstance(item, type) and dataclasses.is_dataclass(item) and item.__module__ == found.name:
                    yield item


def test_no_dataclass_that_holds_tensors_compares_them_element_by_element():
    holding = [
        kind
        for kind in dataclasses_of_the_packages()
        if any(HELD.search(str(item.type)) for item in dataclasses.fields(kind) if item.compare)
    ]
    assert len(holding) > 30
    assert [kind.__name__ for kind in holding if kind.__dataclass_params__.eq] == []


@pytest.fixture(scope="module")
def llava():
    return FAMILIES["llava"].build()[:2]


@pytest.fixture(scope="module")
def made(llava):
    """One object of each public class, as a user gets it, and how large the model is."""
    model, inputs = llava
    calibration = lime_xai.calibrate(model, [inputs], max_new_tokens=1, progress=False)
    output = lime_xai.steer(model, inputs, Edit(direction="backward"), max_new_tokens=3, do_sample=False)
    prompt = lime_xai.read_prompt(model, inputs)
    step = captured_step(model, inputs, 1)
    settings = {"target": 7, "progress": False}
    return {
        "attribution": lime_xai.attribute(model, inputs, [5, 9]),
        "comparison": lime_xai.compare_attributions(model, inputs, ["attnlrp"], ["delta_a"], **settings),
        "routes": lime_xai.routes(model, inputs),
        "output": output,
        "trace": output.trace,
        "step trace": output.trace.steps[0],
        "calibration": calibration,
        "constant": Constant(calibration),
        "groups": Groups(torch.arange(100), tuple(f"group {i}" for i in range(100))),
        "span": Span("image", 3, 7),
        "target": Target(torch.arange(200)[None], answer=True),
        "prompt": prompt,
        "step": step,
        "positions": prompt.positions,
        "call": step.call,
        "recording": prompt.recording(),
        "example": lime_xai.Example(inputs, target=list(range(100))),
        "needs": Contrast().needs,
        **{f"policy {name}": make() for name, make in POLICIES.items()},
        **{f"method {name}": make() for name, make in METHODS.items()},
        **{f"composite {name}": make() for name, make in LRP_METHODS.items()},
    }


OF_A_MODEL = ("prompt", "step", "recording", "call", "positions")


def test_every_repr_fits_a_screen(made):
    for name, thing in made.items():
        text = repr(thing)
        assert len(text) < 500, (name, text)
        assert "\n" not in text, name
        assert "tensor(" not in text, name


def test_a_repr_says_what_there_is(made):
    assert "relevance=float32[1, 2, 13]" in repr(made["attribution"])
    assert "method='attnlrp'" in repr(made["attribution"])
    assert "cache=<DynamicCache of 3 layers>" in repr(made["routes"])
    assert "{'image': float32[1, 1, 128], 'text': float32[1, 1, 128]}" in repr(made["routes"])
    assert repr(made["trace"]) == "SteeringTrace(steps=[StepTrace(...), StepTrace(...), StepTrace(...)])"
    assert "names=<100 str>" in repr(made["groups"])
    assert "input_ids=int64[1, 12]" in repr(made["positions"])


COPIES = {"pickle": lambda thing: pickle.loads(pickle.dumps(thing)), "copy": copy.copy, "deepcopy": copy.deepcopy}


@pytest.mark.parametrize("way", COPIES)
def test_copies_are_equal_and_hold_no_model(made, llava, way):
    for name, thing in made.items():
        if name in OF_A_MODEL:
            continue
        found = COPIES[way](thing)
        assert type(found) is type(thing)
        assert repr(found) == repr(thing) or name.startswith("composite")
        if not name.startswith("composite") and name != "example":
            assert found == thing, name
        if way == "pickle":
            heavy = ("routes", "output")  # caches and logits
            assert len(pickle.dumps(thing)) < (500_000 if name in heavy else 30_000), name


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used"])
@pytest.mark.parametrize("name", LRP_METHODS)
def test_a_copied_composite_gives_the_same_relevance(llava, name, used, way):
    model, inputs = llava
    composite = LRP_METHODS[name](second_order="frozen")
    expected = lime_xai.attribute(model, inputs, [5, 9], LRP_METHODS[name]())
    if used:
        lime_xai.attribute(model, inputs, [5, 9], composite)
    found = COPIES[way](composite)
    assert (type(found), found.second_order) == (type(composite), "frozen")
    assert lime_xai.attribute(model, inputs, [5, 9], found) == expected
    assert lime_xai.attribute(model, inputs, [5, 9], composite) == expected
    assert len(pickle.dumps(composite)) < 2000
    assert found.module_map.__self__ is found
    assert not list(found.handles)


def test_a_composite_copied_while_it_is_used_is_free(llava):
    model, inputs = llava
    composite = AttnLRP()
    with composite.context(model.get_decoder()):
        found = pickle.loads(pickle.dumps(composite))
        twin = copy.copy(composite)
    assert not list(found.handles)
    assert not list(twin.hook_refs)
    assert lime_xai.attribute(model, inputs, 5, twin) == lime_xai.attribute(model, inputs, 5, composite)


def test_a_composite_with_a_layer_map_can_be_copied(llava):
    model, inputs = llava
    composite = AttnLRP(layer_map=[(torch.nn.Linear, Epsilon(0.1))])
    expected = lime_xai.attribute(model, inputs, 5, composite)
    for way in (copy.copy, copy.deepcopy):
        assert lime_xai.attribute(model, inputs, 5, way(composite)) == expected


def test_results_of_other_content_differ(made):
    found = made["attribution"]
    for name, value in {
        "relevance": found.relevance + 1,
        "target_ids": found.target_ids + 1,
        "logits": found.logits.double(),
        "method": "cplrp",
        "tokens": [["a"] * 13],
        "spans": [[Span("text", 0, 13)]],
    }.items():
        assert dataclasses.replace(found, **{name: value}) != found, name
    assert found != "an attribution"
    assert found != made["target"]
    routes = made["routes"]
    assert dataclasses.replace(routes, cache=DynamicCache()) != routes
    trace = made["trace"]
    assert lime_xai.SteeringTrace(trace.steps[:1]) != trace


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (torch.tensor([1.0, float("nan")]), torch.tensor([1.0, float("nan")]), True),
        (torch.tensor([1.0]), torch.tensor([1.0, 1.0]), False),
        (torch.tensor([1]), torch.tensor([1.0]), False),
        (torch.zeros(0), torch.zeros(0), True),
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), True),
        (np.array([1.0]), np.array([2.0]), False),
        ({"a": [torch.zeros(2)]}, {"a": [torch.zeros(2)]}, True),
        ({"a": 1}, {"b": 1}, False),
        ([1, 2], (1, 2), False),
        ([1], [1, 2], False),
        (float("nan"), float("nan"), True),
        (1.0, 1.0, True),
        ("a", "b", False),
        (None, None, True),
    ],
)
def test_sameness(one, other, equal):
    assert same(one, other) is equal


def test_objects_with_contents_have_no_hash(made):
    for thing in made.values():
        if isinstance(thing, Content):
            with pytest.raises(TypeError, match="unhashable"):
                hash(thing)
    assert isinstance(made["prompt"], ShortRepr)
    assert made["prompt"] == made["prompt"] != made["positions"]
    assert isinstance(made["calibration"], Calibration)
    assert isinstance(made["comparison"], Comparison)
    assert isinstance(made["positions"], Positions)
