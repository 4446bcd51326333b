"""A module that cannot do something raises its error every time; what does not come again is a fault."""

import pytest
import torch
from support.families import FAMILIES
from torch import nn

from lime_rules import roles
from lime_rules.attempts import attempt


def raising(*errors):
    """A function that raises these errors, one per call, and then returns 3."""
    left = list(errors)

    def run():
        if left:
            raise left.pop(0)
        return 3

    return run


def test_a_result_is_returned():
    assert attempt(raising(), (RuntimeError,)) == 3


def test_an_error_that_comes_again_is_a_refusal():
    first = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert attempt(raising(first, ValueError("another")), (RuntimeError, ValueError)) is first


@pytest.mark.parametrize("kind", [RuntimeError, ValueError])
def test_an_error_that_does_not_come_again_is_raised(kind):
    first = kind("once")
    with pytest.raises(kind) as raised:
        attempt(raising(first), (RuntimeError, ValueError))
    assert raised.value is first


@pytest.mark.parametrize(
    "fault",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: not enough memory"),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_a_fault_is_raised_however_often_it_comes(fault):
    for errors in ((fault, fault), (RuntimeError("shapes"), fault)):
        with pytest.raises(type(fault)) as raised:
            attempt(raising(*errors), (RuntimeError, MemoryError))
        assert raised.value is fault


def test_other_errors_pass():
    with pytest.raises(KeyboardInterrupt):
        attempt(raising(KeyboardInterrupt()), (RuntimeError,))


@pytest.mark.parametrize("fault", [RuntimeError("once"), torch.OutOfMemoryError("CUDA out of memory.")])
def test_a_fault_gives_no_module_another_role(fault, monkeypatch):
    """A role is kept as long as the model lives, so that a wrong one would change every relevance after it."""
    model, _, _ = FAMILIES["llava"].build()
    decoder, other = model.get_decoder(), FAMILIES["llava"].build()[0].get_decoder()
    original, ran = type(decoder.norm).forward, []

    def forward(module: nn.Module, x):
        ran.append(1)
        if len(ran) == 2:
            raise fault
        return original(module, x)

    monkeypatch.setattr(type(decoder.norm), "forward", forward)
    with pytest.raises(type(fault)) as raised:
        roles(decoder)
    assert raised.value is fault
    assert roles(decoder) == roles(other)
