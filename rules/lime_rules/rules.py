"""Rules as Zennit hooks in gradient x input form.

A rule here passes on a modified *gradient*; relevance is that gradient times the input, taken once at the end.
This keeps linear layers untouched (the LRP-0 rule is the plain gradient) and never divides by an activation.
Every rule recomputes its ratio from the attached input, so second derivatives are exact; set ``frozen`` to hold
ratios constant in them.
"""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn
from zennit.core import Hook, RemovableHandle, RemovableHandleList

from .gradients import replace_gradient, scale_gradient
from .ratios import ACTIVATION_RATIOS, NORM_RATIOS


class RatioHook(Hook):  # type: ignore[misc]
    """Base of the rules: a Zennit ``Hook`` that captures per call instead of per module.

    A module that runs twice in one pass (a shared layer, two cached calls in one graph) keeps both inputs apart,
    which Zennit's ``stored_tensors`` cannot.

    Attributes
    ----------
    active : bool
        Whether the rule replaces the local derivative (``Composite.inactive()`` clears it).
    frozen : bool
        Whether the ratio is a constant in second derivatives.
    """

    def __init__(self) -> None:
        super().__init__()
        self.active = True
        self.frozen = False

    def pre_forward_ratio(self, module: nn.Module, args: tuple[Any, ...]) -> Any:
        """Rewrite the positional inputs of ``module``; the default leaves them."""
        return None

    def post_forward_ratio(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        """Rewrite the output of ``module``; the default leaves it."""
        return None

    def jvp(self, module: nn.Module, input: Tensor, tangent: Tensor) -> Tensor:
        """Return the tangent of the output: the rule's JVP, adjoint to what the rule does to gradients.

        Parameters
        ----------
        module : nn.Module
            That the rule is for.
        input : Tensor
            ``[N, ...]``: what the module is called with.
        tangent : Tensor
            ``[G, N, ...]``: one tangent of the input per group.

        Raises
        ------
        NotImplementedError
            If the rule is not of the kind that replaces a module's derivative.
        """
        raise NotImplementedError(f"{type(self).__name__} has no JVP: the relevance stream cannot use it.")

    def register(self, module: nn.Module) -> RemovableHandleList:
        """Attach the rule to ``module`` and return the handles that undo it."""
        return RemovableHandleList(
            [
                RemovableHandle(self),
                module.register_forward_pre_hook(self._before, with_kwargs=True),
                module.register_forward_hook(self._after, with_kwargs=True),
            ]
        )

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            inputs = self.pre_forward_ratio(module, args)
            return None if inputs is None else (inputs, kwargs)
        # Some models name every argument: the first keyword is the input.
        name = next(iter(kwargs))
        inputs = self.pre_forward_ratio(module, (kwargs[name],))
        return None if inputs is None else ((), {**kwargs, name: inputs[0]})

    def _after(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        return self.post_forward_ratio(module, args or tuple(kwargs.values()), output)


def module_jvp(rule: Hook | None, module: nn.Module, input: Tensor, tangent: Tensor) -> Tensor:
    """Return the tangent of a module's output: by its rule, or by the plain derivative where it has none.

    Parameters
    ----------
    rule : RatioHook or None
        The rule.
    module : nn.Module
        A normalisation or an activation.
    input : Tensor
        ``[N, ...]``.
    tangent : Tensor
        ``[G, N, ...]``.
    """
    if isinstance(rule, RatioHook):
        return rule.jvp(module, input, tangent)

    def derivative(one: Tensor) -> Tensor:
        out: Tensor = torch.func.jvp(module.forward, (input,), (one,))[1]
        return out

    return torch.stack([derivative(one) for one in tangent])


class NormRule(RatioHook):
    r"""Identity rule of a normalisation: the scale is held fixed.

    ``R_i = R'_i`` for ``y = x * w / rms(x)``, that is ``grad_x = w / rms(x) * grad_y`` (AttnLRP, equation for
    normalisation layers). LayerNorm's centring is linear and differentiated as such.

    Parameters
    ----------
    kind : str
        A key of ``lime_rules.ratios.NORM_RATIOS``.
    """

    def __init__(self, kind: str = "rms_norm") -> None:
        super().__init__()
        self.kind = kind

    def copy(self) -> Self:
        """Return a fresh hook of the same kind."""
        return type(self)(self.kind)

    def post_forward_ratio(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        """Route the gradient of the output through the fixed scale."""
        ratio = NORM_RATIOS[self.kind]
        return replace_gradient(output, args[0], lambda x, grad: ratio.local(module, x, grad), self)

    def jvp(self, module: nn.Module, input: Tensor, tangent: Tensor) -> Tensor:
        """Scale the tangent as the input is scaled, ``[G, N, ..., D]``."""
        return NORM_RATIOS[self.kind].jvp(module, input.detach() if self.frozen else input, tangent)


class ActivationRule(RatioHook):
    r"""Identity rule of an elementwise activation: ``grad_x = act(x) / x * grad_y``, exact at ``x = 0``.

    Parameters
    ----------
    kind : str
        A key of ``lime_rules.ratios.ACTIVATION_RATIOS``.
    """

    def __init__(self, kind: str = "silu") -> None:
        super().__init__()
        self.kind = kind

    def copy(self) -> Self:
        """Return a fresh hook of the same kind."""
        return type(self)(self.kind)

    def post_forward_ratio(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        """Route the gradient of the output through the ratio."""
        ratio = ACTIVATION_RATIOS[self.kind]
        return replace_gradient(output, args[0], lambda x, grad: grad * ratio(x), self)

    def jvp(self, module: nn.Module, input: Tensor, tangent: Tensor) -> Tensor:
        """Multiply the tangent by the ratio, ``[G, N, ...]``."""
        return tangent * ACTIVATION_RATIOS[self.kind](input.detach() if self.frozen else input)


class ScaleInputRule(RatioHook):
    """Multiply the gradient that leaves a module through its first input by one factor.

    Attached to the projection after an elementwise product ``a * b`` with factor 1/2 it is the uniform rule:
    each factor of the product gets half of the relevance.

    Parameters
    ----------
    factor : float
        The ratio of the rule.
    """

    def __init__(self, factor: float = 0.5) -> None:
        super().__init__()
        self.factor = factor

    def copy(self) -> Self:
        """Return a fresh hook with the same factor."""
        return type(self)(self.factor)

    def pre_forward_ratio(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Scale the gradient of the first positional input."""
        return (scale_gradient(args[0], self.factor, self), *args[1:])


class ProductRule(ScaleInputRule):
    """Uniform rule of an elementwise product, attached to the module that consumes the product."""


class BlockRule(RatioHook):
    """Let no relevance through a module: CP-LRP's rule for the gate of a gated MLP."""

    def post_forward_ratio(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        """Multiply the gradient of the output by zero while active."""
        return scale_gradient(output, 0.0, self)

    def jvp(self, module: nn.Module, input: Tensor, tangent: Tensor) -> Tensor:
        """Return no tangent."""
        return torch.zeros_like(tangent)


class GradientForm(RatioHook):
    r"""Run one of Zennit's own rules (``Epsilon``, ``Gamma``, ...) inside a gradient x input composite.

    Zennit's rules take and return relevance. The adapter multiplies the incoming gradient by the output, calls
    the rule and divides by the input; where the input is 0 its relevance is 0 and so is the gradient given on.

    Parameters
    ----------
    rule : zennit.core.BasicHook
        A template; it is copied with the adapter.
    factor : float
        The gradient given on is multiplied by it; 1/2 after an elementwise product (``ProductRule``).
    """

    def __init__(self, rule: Hook, factor: float = 1.0) -> None:
        super().__init__()
        self.rule = rule
        self.factor = factor

    def copy(self) -> Self:
        """Return an adapter around a copy of the rule."""
        return type(self)(self.rule.copy(), self.factor)

    def post_forward_ratio(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        """Route the gradient of the output through the rule."""

        def local(value: Tensor, grad: Tensor) -> Tensor:
            return self.passed(value, self.relevance(module, value, output.detach() if self.frozen else output, grad))

        return replace_gradient(output, args[0], local, self)

    def relevance(self, module: nn.Module, value: Tensor, output: Tensor, grad: Tensor) -> Tensor:
        """Return the relevance of the input ``value`` by Zennit's rule, for a gradient of the output."""
        self.rule.stored_tensors["input"] = (value,)
        self.rule.stored_tensors["kwargs"] = {}
        try:
            found: Tensor = self.rule.backward(module, (value,), (grad * output,))[0]
        finally:
            self.rule.stored_tensors.clear()
        return found

    def passed(self, value: Tensor, relevance: Tensor) -> Tensor:
        """Return what is given on to the input ``value``: its relevance divided by it."""
        safe = torch.where(value == 0, torch.ones_like(value), value)
        return torch.where(value == 0, torch.zeros_like(value), self.factor * relevance / safe)


class RelevanceForm(GradientForm):
    """Run one of Zennit's own rules at the first layer of an encoder and give its relevance on, undivided.

    ``Flat``, ``WSquare`` and ``ZBox`` give relevance to inputs that are 0, which no gradient times input can hold.
    Nothing but copying and changes of shape may lie between the input and the module.

    Attributes
    ----------
    total : float
        Sum of the relevance that was given on since the rule was attached.
    """

    total = 0.0

    def passed(self, value: Tensor, relevance: Tensor) -> Tensor:
        """Return the relevance itself."""
        self.total += float(relevance.detach().sum(dtype=torch.float64))
        return self.factor * relevance
