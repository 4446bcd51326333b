"""One backward pass through the encoder of a model, from the decoder's inputs to pixels and spectrograms."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lime_rules import Audit, EncoderLRP, RelevanceForm, audit_encoder
from lime_rules.encoders import CONVOLUTIONS, attends_inline
from lime_rules.structure import is_linear
from lime_xai.model.differentiable import Makeup, makeup_of
from lime_xai.model.gradient_flow import impassable
from lime_xai.model.gradients import DifferentiableCall
from lime_xai.model.perception import encoder_of, perceive, signals
from lime_xai.model.prompt import Prompt

TOLERANCE, HALF_TOLERANCE = 1e-3, 5e-2
"""Largest relative difference of what the decoder is given with and without rules, in float32 and in half precision."""

_PASSABLE: WeakKeyDictionary[PreTrainedModel, Makeup] = WeakKeyDictionary()
_WARNED: WeakSet[PreTrainedModel] = WeakSet()


def covered_encoder(prompt: Prompt, composite: EncoderLRP) -> Audit:
    """Return which rule each module of the encoder gets, and what has none.

    Raises
    ------
    NotImplementedError
        If rules are wanted and the encoder has attention that cannot be switched to them; naming the modules.

    Warns
    -----
    UserWarning
        Once per model, about modules and operations without a rule; they are named.
    """
    replayer, given = prompt.replayer, signals(prompt.inputs)

    def run(change: Callable[[Tensor], Tensor]) -> Sequence[Tensor]:
        try:
            return perceive(replayer, prompt.inputs, {name: change(value) for name, value in given.items()})
        except (torch.OutOfMemoryError, NotImplementedError):
            raise
        except (TypeError, ValueError, RuntimeError) as error:
            raise NotImplementedError(
                f"{type(replayer.model).__name__} cannot be called with its inputs alone, outside generate ({error}): "
                "no relevance below its tokens. Use attribute."
            ) from error

    found = audit_encoder(encoder_of(replayer), composite, run)
    if not composite.functional:
        return found  # no rules are wanted, so none can be missing
    inline = sorted({one.module for one in found.operations if attends_inline(one)})
    if inline:
        raise NotImplementedError(
            f"The encoder of {type(replayer.model).__name__} has attention, or another softmax, outside transformers' "
            f"attention interface ({_listed(inline)}): it cannot be switched to LRP rules. Relevance of tokens "
            "(attribute) is not affected; encoder='gradient_input' gives plain gradient x input of pixels."
        )
    if not found.complete and replayer.model not in _WARNED:
        _WARNED.add(replayer.model)
        rows = [f"{row.name} ({row.module})" for row in found.uncovered]
        operations = [f"{one.name} in {one.module or type(replayer.model).__name__}" for one in found.operations]
        warnings.warn(
            f"{found.verdict.capitalize()} in what encodes pictures and sounds: {_listed(rows + operations)}. They "
            "pass on their plain gradient and have no relevance rule. See PixelAttribution.coverage.",
            stacklevel=4,
        )
    return found


def propagate(
    prompt: Prompt, composite: EncoderLRP, call: DifferentiableCall, gradients: Sequence[Sequence[Tensor]]
) -> dict[str, Tensor]:
    """Return the relevance of every picture and sound, ``[G, *shape]`` in at least float32.

    1. Run the encoder once with the rules active, pictures and sounds being leaves of a graph.
    2. Compare what it gives to the decoder with what the plain model gives.
    3. One backward pass per explained value, from the gradients of the decoder's inputs.
    4. Once per model, look for modules of the encoder through which no gradient passes (``impassable``).

    Parameters
    ----------
    prompt : Prompt
        ``B`` rows.
    composite : EncoderLRP
        The rules.
    call : DifferentiableCall
        The decoder's inputs of the plain model.
    gradients : sequence of sequence of Tensor
        Per explained value: of ``call.tensors``.

    Raises
    ------
    NotImplementedError
        If the encoder computes something else under the rules, a picture reaches the decoder without a gradient, or
        modules of the encoder give none.
    """
    root, given = encoder_of(prompt.replayer), signals(prompt.inputs)
    composite = copy.copy(composite)
    if composite.first is not None:
        composite.first_layers = frozenset(_first_layer(prompt, root, name) for name in given)
    leaves = {name: value.detach().clone().requires_grad_() for name, value in given.items()}
    with torch.enable_grad(), composite.context(root):
        found = perceive(prompt.replayer, prompt.inputs, {name: leaf.clone() for name, leaf in leaves.items()})
        _check_same(prompt, found, call.tensors)
        forms = [hook for hook in composite.hook_refs if isinstance(hook, RelevanceForm)]
        rows = []
        for index, gradient in enumerate(gradients):
            for form in forms:
                form.total = 0.0
            rows.append(_backward(prompt, found, gradient, leaves, retain=index + 1 < len(gradients)))
            if forms:
                _check_first(rows[-1], sum(form.total for form in forms))
    _check_gradient(prompt, root, given)
    if forms:
        return {name: torch.stack([row[name] for row in rows]) for name in leaves}
    return {name: torch.stack([row[name] * leaf.detach() for row in rows]) for name, leaf in leaves.items()}


def _backward(
    prompt: Prompt, found: Sequence[Tensor], gradient: Sequence[Tensor], leaves: Mapping[str, Tensor], retain: bool
) -> dict[str, Tensor]:
    """Return the gradient of every leaf, in at least float32."""
    pairs = [(one, own) for one, own in zip(found, gradient, strict=True) if one.requires_grad]
    outputs, weights = [one for one, _ in pairs], [own.to(one.dtype) for one, own in pairs]
    inputs = list(leaves.values())
    grads: Sequence[Tensor | None] = (
        torch.autograd.grad(outputs, inputs, weights, retain_graph=retain, allow_unused=True)
        if outputs
        else [None] * len(inputs)
    )
    missing = [name for name, grad in zip(leaves, grads, strict=True) if grad is None]
    if missing:
        raise NotImplementedError(
            f"{', '.join(missing)} reaches the decoder of {type(prompt.model).__name__} by no differentiable way (its "
            "encoder makes discrete codes, or runs without gradients): no relevance below its tokens. Use attribute."
        )
    return {
        name: grad.to(torch.promote_types(grad.dtype, torch.float32))
        for name, grad in zip(leaves, grads, strict=True)
        if grad is not None
    }


def _check_gradient(prompt: Prompt, root: nn.Module, given: Mapping[str, Tensor]) -> None:
    """Refuse an encoder with modules that depend on the picture and have no gradient, as quantised kernels do.

    Once per model, and again when modules were exchanged.
    """
    model, makeup = prompt.model, makeup_of(root)
    if _PASSABLE.get(model) == makeup:
        return

    def run() -> None:
        perceive(
            prompt.replayer, prompt.inputs, {key: one.detach().clone().requires_grad_() for key, one in given.items()}
        )

    names = impassable(root, run)
    if names:
        raise NotImplementedError(
            f"{_listed(names)} of what encodes pictures and sounds in {type(model).__name__} depends on its input and "
            "has no gradient, as quantised kernels do: relevance of pixels would be wrong. Use an encoder that is not "
            "quantised, or weights-only quantisation. Relevance of tokens (attribute) is not affected."
        )
    _PASSABLE[model] = makeup


def _first_layer(prompt: Prompt, root: nn.Module, name: str) -> str:
    """Return the name of the first linear or convolution layer that a picture or sound comes to.

    Parameters are frozen, so that only what depends on the picture requires a gradient.
    """
    order: list[str] = []
    handles = []
    for path, module in root.named_modules():
        if not isinstance(module, CONVOLUTIONS) and not is_linear(module):
            continue

        def note(module: nn.Module, args: tuple[Any, ...], path: str = path) -> None:
            if any(isinstance(value, Tensor) and value.requires_grad for value in args):
                order.append(path)

        handles.append(module.register_forward_pre_hook(note))
    value = signals(prompt.inputs)[name]
    try:
        with torch.enable_grad():
            perceive(prompt.replayer, prompt.inputs, {name: value.detach().clone().requires_grad_()})
    finally:
        for handle in handles:
            handle.remove()
    if not order:
        raise NotImplementedError(
            f"{name} comes to no linear or convolution layer of {type(prompt.model).__name__}'s encoder, so that "
            "first= has no layer to apply to; leave it out."
        )
    return order[0]


def _check_first(relevance: Mapping[str, Tensor], given: float) -> None:
    """Refuse relevance of a first layer that did not arrive at the pixels as it was given."""
    arrived = sum(float(value.sum(dtype=torch.float64)) for value in relevance.values())
    size = sum(float(value.abs().sum(dtype=torch.float64)) for value in relevance.values())
    if abs(arrived - given) > TOLERANCE * max(size, 1e-30):
        raise NotImplementedError(
            f"The first layer gave a relevance of {given:.4g} to its input and {arrived:.4g} arrived at the pixels: "
            "the model changes them before that layer, or they have another way. Leave first= out."
        )


def _check_same(prompt: Prompt, found: Sequence[Tensor], plain: Sequence[Tensor]) -> None:
    """Refuse an encoder that computes something else under the rules, or in a forward pass outside ``generate``."""
    name = type(prompt.model).__name__
    if [one.shape for one in found] != [one.shape for one in plain]:
        raise NotImplementedError(
            f"{name}'s forward pass gives its decoder {[tuple(one.shape) for one in found]}, generate "
            f"{[tuple(one.shape) for one in plain]}: no relevance below its tokens."
        )
    for one, other in zip(found, plain, strict=True):
        size = float(other.detach().abs().max().float().clamp(min=1e-12))
        distance = float((one.detach() - other.detach()).abs().max().float()) / size
        allowed = HALF_TOLERANCE if one.dtype in (torch.float16, torch.bfloat16) else TOLERANCE
        if not distance <= allowed:
            raise NotImplementedError(
                f"With its attention switched to LRP rules, what encodes pictures and sounds in {name} computes "
                f"something else (relative distance {distance:.1e}, allowed {allowed:.0e}); relevance of it would be "
                "wrong. Relevance of tokens (attribute) is not affected."
            )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
