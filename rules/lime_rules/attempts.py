"""Telling what a module cannot do from a fault that happened while it was tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")

_FAULTS: tuple[type[BaseException], ...] = (
    MemoryError,
    torch.OutOfMemoryError,
    getattr(torch, "AcceleratorError", torch.OutOfMemoryError),  # before PyTorch 2.8 a RuntimeError without a name
)
_MESSAGES = ("CUDA error", "cuDNN error", "CUBLAS_STATUS", "not enough memory", "can't allocate memory")
"""Parts of the messages of faults for which PyTorch has no class of its own."""


def is_fault(error: BaseException) -> bool:
    """Whether an error says nothing about the code that ran: memory has run out, or a device has failed."""
    return isinstance(error, _FAULTS) or any(part in str(error) for part in _MESSAGES)


def attempt(run: Callable[[], T], errors: tuple[type[Exception], ...]) -> T | Exception:
    """Try whether a model can do something; return the result, or the error by which it refuses.

    A model that cannot do it raises the error every time. Therefore an error is a refusal only if a second try raises
    one too. What does not come again is a fault, and is raised: a choice that rests on it would be wrong, and would
    hide it.

    Parameters
    ----------
    run : callable
        What is tried; without effect if it fails.
    errors : tuple of type
        Errors by which the model may refuse.

    Returns
    -------
    object or Exception
        What ``run`` returned, or its first error.

    Raises
    ------
    Exception
        The first error, if the second try raised none; errors of other types; and those of ``is_fault``.
    """
    try:
        return run()
    except errors as error:
        if is_fault(error):
            raise
        refusal = error
    try:
        run()
    except errors as error:
        if is_fault(error):
            raise
        return refusal
    raise refusal
