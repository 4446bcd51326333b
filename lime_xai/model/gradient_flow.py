"""Modules inside a decoder through which no gradient passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lime_rules.attempts import attempt


@dataclass(frozen=True, eq=False)
class Passage:
    """One call of a module during a forward pass.

    Attributes
    ----------
    name : str
        Of the module in the decoder.
    module : Module
        The module.
    args, kwargs : tuple, mapping
        What it was given; tensors with a gradient are copies of their own, whatever is done to the originals later.
    outputs : list of Tensor
        Its floating outputs.
    """

    name: str
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: list[Tensor]

    @property
    def inputs(self) -> list[Tensor]:
        """Inputs that a gradient could reach."""
        return [one for one in (*self.args, *self.kwargs.values()) if _carries(one)]


@contextmanager
def recorded_passages(root: nn.Module) -> Iterator[list[Passage]]:
    """Context in which every call of a module below ``root`` is recorded, in the order in which they end."""
    found: list[Passage] = []
    names = {module: name for name, module in root.named_modules() if name}

    def before(module: nn.Module, args: Any, kwargs: Any) -> Any:
        return tuple(_copied(one) for one in args), {key: _copied(one) for key, one in kwargs.items()}

    def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        outputs = [one for one in _tensors(output) if one.is_floating_point()]
        passage = Passage(names[module], module, args, kwargs, outputs)
        if passage.inputs and outputs:
            found.append(passage)

    handles = []
    try:
        for module in names:
            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(module.register_forward_hook(after, with_kwargs=True))
        yield found
    finally:
        for handle in handles:
            handle.remove()


def impassable(root: nn.Module, run: Callable[[], object]) -> list[str]:
    """Return the modules whose output depends on their input and has no gradient there.

    1. Run forward with gradients, and record inputs and outputs of every module.
    2. Of each module, compute the gradient of its outputs with respect to its inputs, along random numbers. It takes
       the ways through this module alone, so that a residual connection around it hides nothing.
    3. Where it is zero or missing, call the module again with other inputs. A module whose output stays the same, such
       as a rotary embedding, has rightly no gradient. Any other one is named, if none inside it is.

    Parameters
    ----------
    root : Module
        The decoder.
    run : callable
        Runs it once, with gradients, on inputs that require one.

    Returns
    -------
    list of str
        Names in the decoder.
    """
    with recorded_passages(root) as passages, torch.enable_grad():
        run()
    suspected = [one for one in passages if not _passes(one)]
    found = [one.name for one in suspected if _depends(one)]
    return [name for name in found if not any(other.startswith(f"{name}.") for other in found)]


def _passes(passage: Passage) -> bool:
    """Whether a gradient of the outputs arrives at an input; True where autograd cannot tell."""
    outputs = [one for one in passage.outputs if one.requires_grad]
    if not outputs:
        return False
    generator = torch.Generator().manual_seed(0)
    along = [torch.randn(one.shape, generator=generator).to(one) for one in outputs]
    found = attempt(
        lambda: torch.autograd.grad(outputs, passage.inputs, along, retain_graph=True, allow_unused=True),
        (RuntimeError,),
    )
    if isinstance(found, Exception):
        return True
    return any(one is not None and bool((one != 0).any()) for one in found)


def _depends(passage: Passage) -> bool:
    """Whether the outputs of a module change with its inputs; False where it does not run by itself."""
    again = attempt(
        lambda: passage.module(
            *(_moved(one) for one in passage.args), **{key: _moved(one) for key, one in passage.kwargs.items()}
        ),
        (RuntimeError, ValueError, TypeError),
    )
    if isinstance(again, Exception):
        return False
    outputs = [one for one in _tensors(again) if one.is_floating_point()]
    same = len(outputs) == len(passage.outputs) and all(
        one.shape == other.shape and torch.equal(one, other)
        for one, other in zip(outputs, passage.outputs, strict=True)
    )
    return not same


def _carries(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _copied(value: Any) -> Any:
    return value.clone() if _carries(value) else value


def _moved(value: Any) -> Any:
    """Return a tensor with a gradient as another one of the same kind; anything else as it is."""
    return (-1.5 * value.detach()).flip(-1) if _carries(value) else value


def _tensors(value: Any) -> Iterable[Tensor]:
    """Return the tensors of an output: one, or those in a tuple, list or mapping."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        return [one for item in value.values() for one in _tensors(item)]
    if isinstance(value, (tuple, list)):
        return [one for item in value for one in _tensors(item)]
    return []
