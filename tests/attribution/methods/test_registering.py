"""A method from outside the package: registered, named, in JSON and in a comparison."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from support.families import FAMILIES

import lime_xai
from lime_xai import METHODS, Example, register_method
from lime_xai.attribution.methods.base import RowMethod
from lime_xai.attribution.methods.registry import method_from_dict, method_to_dict


@pytest.fixture(autouse=True)
def _registry():
    """Leave the registry as it was."""
    before = dict(METHODS)
    yield
    METHODS.clear()
    METHODS.update(before)


def define():
    """A class of methods, as the cell of a notebook that is run."""

    @dataclass(frozen=True)
    class Norm(RowMethod):
        order: float = 2.0
        table: Path | torch.Tensor | None = None
        name: ClassVar[str] = "norm"

        def passes(self, problem, groups):
            return 0

        def relevance(self, problem, groups, column):
            return problem.inputs[0][0].norm(p=self.order, dim=-1)

    return Norm


def test_the_name_stands_for_the_usual_settings():
    norm = register_method(define())
    model, inputs, _ = FAMILIES["llava"].build()
    found = lime_xai.attribute(model, inputs, 5, "norm")
    assert found.method == "norm"
    prompt = lime_xai.read_prompt(model, inputs)
    wanted = prompt.recording().calls[0].embeddings[0].norm(dim=-1)
    torch.testing.assert_close(found.relevance[0], wanted)
    assert method_from_dict(json.loads(json.dumps(method_to_dict(norm(order=1.0))))) == norm(order=1.0)


@pytest.mark.parametrize("table", [Path("a"), torch.ones(2)], ids=["path", "tensor"])
def test_a_comparison_writes_settings_that_json_does_not_have_by_class(table, tmp_path):
    model, inputs, _ = FAMILIES["llava"].build()
    out = tmp_path / "found.json"
    found = lime_xai.compare_attributions(
        model, [Example(inputs, 5)], {"norm": define()(table=table)}, metrics=["delta_a"], out=out, progress=False
    )
    assert found.header["settings"]["norm"]["table"] == type(table).__qualname__
    assert json.loads(out.read_text())["header"]["settings"] == found.header["settings"]


def test_a_class_that_is_defined_again_replaces_the_earlier_one():
    first, second = register_method(define()), register_method(define())
    assert METHODS["norm"] is second is not first


def nameless():
    @dataclass(frozen=True)
    class Nameless(RowMethod):
        pass

    return Nameless


def taken():
    @dataclass(frozen=True)
    class Taken(RowMethod):
        name: ClassVar[str] = "saliency"

    return Taken


def demanding():
    @dataclass(frozen=True)
    class Demanding(RowMethod):
        order: float
        name: ClassVar[str] = "demanding"

    return Demanding


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (nameless, TypeError, "Nameless must be a dataclass with name"),
        (lambda: int, TypeError, "int must be a dataclass with name"),
        (demanding, TypeError, "Demanding has fields without defaults: order"),
        (taken, ValueError, "There is a method 'saliency' already"),
    ],
)
def test_a_class_that_cannot_be_registered_is_refused(make, error, message):
    before = dict(METHODS)
    with pytest.raises(error, match=message):
        register_method(make())
    assert before == METHODS


def test_lrp_methods_come_first():
    assert next(iter(METHODS)) == "attnlrp"
