"""One user of a model at a time: what is set on a model must not be met by another call."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import wraps
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


@dataclass
class _Use:
    """Who uses a model.

    Attributes
    ----------
    thread : int
        Identifier of the thread.
    steered : bool
        Whether policies are on the model.
    open_ended : bool
        Whether the use lasts until the user leaves a context.
    depth : int
        Nested uses of the same kind.
    """

    thread: int
    steered: bool
    open_ended: bool
    depth: int = 1


_CONDITION = threading.Condition()
_USES: WeakKeyDictionary[nn.Module, _Use] = WeakKeyDictionary()

_WAITING: set[int] = set()
"""Threads that wait before the model's forward begins."""


@contextmanager
def exclusive(model: PreTrainedModel, *, steered: bool = False, open_ended: bool = False) -> Iterator[bool]:
    """Context in which one thread uses a model; other threads wait.

    Attribution and steering register hooks on a model, switch its attention and freeze its parameters. A second call
    of this package waits until the first has ended. So do ``generate`` and ``forward`` of another thread during an
    attribution; during steering the session decides about them (``generation.requests``). Forward passes that other
    threads have begun before are waited for.

    Parameters
    ----------
    model : PreTrainedModel
        The model.
    steered : bool
        Whether policies will be on it. Nothing may be nested inside.
    open_ended : bool
        Whether the user decides when the use ends; nobody waits for that.

    Yields
    ------
    bool
        Whether the thread did not use the model before: nested uses need not set anything again.

    Raises
    ------
    ValueError
        Inside steering by the same thread, and during steering by another thread that is open-ended.
    """
    outermost = _take(model, steered, open_ended)
    try:
        with nullcontext() if steered or not outermost else _others_wait(model):
            yield outermost
    finally:
        _give(model)


@contextmanager
def borrowed(model: PreTrainedModel) -> Iterator[None]:
    """Context in which this package runs a model: alone, outside inference mode, and with nothing left behind.

    Rules build graphs, which tensors of a caller's inference mode could not enter. Parameters are frozen, and what
    modules remember of their last call is put back. Nested uses change nothing.

    Raises
    ------
    ValueError
        As ``exclusive``.
    """
    with exclusive(model) as outermost, ExitStack() as stack:
        if outermost:
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(frozen_parameters(model))
            stack.enter_context(memory_kept(model))
        yield


def _take(model: PreTrainedModel, steered: bool, open_ended: bool) -> bool:
    """Wait for a model and note its use; return whether it is no nested one."""
    thread = threading.get_ident()
    with _CONDITION:
        while (use := _USES.get(model)) is not None:
            if use.thread == thread and not use.steered and not steered:
                use.depth += 1
                return False
            _refuse(model, use, thread, steered)
            _CONDITION.wait()
        _USES[model] = _Use(thread, steered, open_ended)
        return True


def _refuse(model: PreTrainedModel, use: _Use, thread: int, steered: bool) -> None:
    """Refuse a use that would wait for itself, or for the end of a context that only the user can leave."""
    name = type(model).__name__
    if use.steered and use.thread == thread:
        advice = "pass several policies as one list" if steered else "attribute before or after it"
        raise ValueError(
            f"This {name} is being steered already: the call is inside steering(), a policy, a streamer or a logits "
            f"processor; {advice}."
        )
    if use.thread == thread:
        raise ValueError(f"This {name} is being attributed; steer it afterwards.")
    if use.open_ended:
        raise ValueError(f"This {name} is being steered already, by steering() in another thread; leave that first.")


def _give(model: PreTrainedModel) -> None:
    with _CONDITION:
        use = _USES[model]
        use.depth -= 1
        if use.depth == 0:
            del _USES[model]
            _CONDITION.notify_all()


def _wait(model: PreTrainedModel) -> None:
    """Wait, in a thread other than the one that uses the model, until it is free."""
    thread = threading.get_ident()
    with _CONDITION:
        # Under the lock: a thread is known to wait exactly as long as the model is in use.
        _WAITING.add(thread)
        try:
            while (use := _USES.get(model)) is not None and use.thread != thread:
                _CONDITION.wait()
        finally:
            _WAITING.discard(thread)


@contextmanager
def _others_wait(model: PreTrainedModel) -> Iterator[None]:
    """Context in which ``generate`` and ``forward`` of other threads wait for the end of the use."""

    def hook(module: nn.Module, args: Any) -> None:
        _wait(model)

    def gate(generate: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(generate)
        def waiting(*args: Any, **kwargs: Any) -> Any:
            _wait(model)
            return generate(*args, **kwargs)

        return waiting

    handle = model.register_forward_pre_hook(hook)
    try:
        with replaced_method(model, "generate", gate):
            wait_for_running(model)
            yield
    finally:
        handle.remove()


def wait_for_running(model: PreTrainedModel) -> None:
    """Wait for the end of forward passes of a model that other threads have begun.

    PyTorch does not count them, so the stacks of the other threads are searched for a call of the model.
    """
    while threading.active_count() > 1 and _runs_elsewhere(model):
        time.sleep(_PAUSE)


_PAUSE = 0.001
"""Seconds between two looks at the other threads."""


def _runs_elsewhere(model: PreTrainedModel) -> bool:
    with _CONDITION:
        idle = {threading.get_ident(), *_WAITING}
        with _no_collection():
            frames = {thread: frame for thread, frame in sys._current_frames().items() if thread not in idle}
    for top in frames.values():
        frame: FrameType | None = top
        while frame is not None:
            # nn.Module runs hooks and forward in this method.
            if frame.f_code.co_name == "_call_impl" and frame.f_locals.get("self") is model:
                return True
            frame = frame.f_back
    return False


@contextmanager
def _no_collection() -> Iterator[None]:
    """Context in which Python does not collect garbage.

    Before Python 3.11.9, ``sys._current_frames`` holds a lock of the interpreter while it makes objects. That can begin
    a collection, whose finalisers let other threads run. A thread that starts or ends there waits for the lock without
    releasing the GIL, and both wait for ever (python/cpython issue 106883).
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


Function = Callable[..., Any]


@contextmanager
def replaced_method(model: Any, name: str, change: Callable[[Function], Function]) -> Iterator[None]:
    """Context in which a method of one model object is another; its class is not changed.

    Parameters
    ----------
    model : PreTrainedModel
        The object.
    name : str
        Of the method.
    change : callable
        Takes the method and returns what replaces it.
    """
    own = vars(model).get(name)
    vars(model)[name] = change(getattr(model, name))
    try:
        yield
    finally:
        if own is None:
            vars(model).pop(name, None)
        else:
            vars(model)[name] = own


@contextmanager
def memory_kept(model: nn.Module) -> Iterator[None]:
    """Context after which what modules remember of their last call is as before.

    Some models keep the position offsets of the last prompt for its later tokens (``rope_deltas``), others a recurrent
    state. They are plain attributes, neither parameters nor buffers. A call with another prompt in between would change
    how the first one goes on.
    """
    saved: list[tuple[Any, str, Any]] = [
        (module, name, value)
        for module in model.modules()
        for name, value in vars(module).items()
        if not name.startswith("_") and (value is None or isinstance(value, Tensor))
    ]
    try:
        yield
    finally:
        for module, name, value in saved:
            if vars(module).get(name) is not value:
                setattr(module, name, value)


@contextmanager
def frozen_parameters(model: nn.Module) -> Iterator[None]:
    """Context in which no parameter requires a gradient; flags are restored at the end."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
