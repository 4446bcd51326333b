"""Autograd functions that exchange a local derivative for a rule's ratio while the rule is active.

Both read at *backward* time whether their rule is active. Therefore one graph is used twice: a first backward pass
with active rules gives relevance, and a second one with inactive rules gives the true derivative of any loss on that
relevance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd import Function

LocalGradient = Callable[[Tensor, Tensor], Tensor]
"""``(input, grad_output) -> grad_input``: the local vector-Jacobian product that a rule puts in place."""


class Switch(Protocol):
    """What the functions read of a rule.

    ``active`` says whether the rule replaces the local derivative. ``frozen`` says that its ratio is a
    constant in second derivatives.
    """

    active: bool
    frozen: bool


class _Scale(Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, factor: float, switch: Switch) -> Tensor:
        ctx.factor, ctx.switch = factor, switch
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, None, None]:
        (grad,) = grad_outputs
        return (grad * ctx.factor if ctx.switch.active else grad), None, None


class _Replace(Function):
    @staticmethod
    def forward(ctx: Any, output: Tensor, input: Tensor, local: LocalGradient, switch: Switch) -> Tensor:
        ctx.save_for_backward(input)
        ctx.local, ctx.switch = local, switch
        return output.view_as(output)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (grad,) = grad_outputs
        if not ctx.switch.active:
            return grad, None, None, None
        (input,) = ctx.saved_tensors
        return None, ctx.local(input.detach() if ctx.switch.frozen else input, grad), None, None


def scale_gradient(tensor: Tensor, factor: float, switch: Switch) -> Tensor:
    """Return ``tensor`` unchanged, its gradient multiplied by ``factor`` while ``switch`` is active.

    Parameters
    ----------
    tensor : Tensor
        Any shape.
    factor : float
        The rule's ratio.
    switch : Switch
        Read at backward time.

    Returns
    -------
    Tensor
        A view of ``tensor``.
    """
    if not (torch.is_grad_enabled() and tensor.requires_grad):
        return tensor
    return _Scale.apply(tensor, factor, switch)  # type: ignore[no-any-return]


def replace_gradient(output: Tensor, input: Tensor, local: LocalGradient, switch: Switch) -> Tensor:
    """Return ``output`` unchanged; while ``switch`` is active its gradient reaches ``input`` through ``local``.

    Parameters
    ----------
    output : Tensor
        What a module computed from ``input``.
    input : Tensor
        Kept attached, so that ``local`` is differentiated with respect to it in second derivatives.
    local : callable
        ``(input, grad_output) -> grad_input``.
    switch : Switch
        Read at backward time. Inactive: the module's own derivative is used.

    Returns
    -------
    Tensor
        A view of ``output``.
    """
    if not (torch.is_grad_enabled() and output.requires_grad):
        return output
    return _Replace.apply(output, input, local, switch)  # type: ignore[no-any-return]
