"""Checks of what a user hands over beside inputs: wrapped models, processors, and tokens to continue with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lime_xai.values.checking import shown


def unwrapping(model: object) -> str:
    """Return how to get the model out of a wrapper, as the end of an error message; empty if none is known.

    Parameters
    ----------
    model : object
        Not a model of transformers.
    """
    if hasattr(model, "get_base_model"):
        return " Pass model.get_base_model(): it holds the adapter's layers."
    for name in ("_orig_mod", "module", "model"):
        if isinstance(getattr(model, name, None), torch.nn.Module):
            return f" Pass the model inside it, model.{name}."
    return ""


def check_processor(processor: Any) -> None:
    """Refuse a processor that cannot label tokens.

    Raises
    ------
    TypeError
        Naming what was found.
    """
    tokenizer = getattr(processor, "tokenizer", processor)
    if processor is not None and not callable(getattr(tokenizer, "convert_ids_to_tokens", None)):
        raise TypeError(f"processor is {shown(processor)}; expected a processor or tokenizer of transformers, or None.")


def holds_whole_numbers(tensor: Tensor) -> bool:
    """Whether a tensor can hold token ids: its dtype is that of whole numbers."""
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def check_values(name: str, tensor: Tensor) -> Tensor:
    """Return a tensor that holds values; refuse one on the meta device.

    Raises
    ------
    ValueError
        Naming the argument.
    """
    if tensor.is_meta:
        raise ValueError(f"{name} is on the meta device, where tensors hold no values; give it on the model's device.")
    return tensor


def check_continuation(continuation: Tensor | None, rows: int, vocabulary: int) -> None:
    """Refuse a continuation that is no ``[B, N]`` of token ids.

    Parameters
    ----------
    continuation : Tensor, optional
        Tokens after a prompt.
    rows, vocabulary : int
        Of the prompt: ``B``, and the number of logits.

    Raises
    ------
    ValueError
        For another shape or dtype, or ids out of range.
    """
    if continuation is None:
        return
    check_values("continuation", continuation)
    whole = holds_whole_numbers(continuation)
    if continuation.dim() != 2 or continuation.shape[0] != rows or continuation.shape[1] == 0 or not whole:
        raise ValueError(
            f"continuation is {continuation.dtype} of shape {tuple(continuation.shape)}; expected token ids "
            f"[{rows}, tokens], at least one."
        )
    bad = continuation[(continuation < 0) | (continuation >= vocabulary)]
    if bad.numel():
        raise ValueError(f"continuation holds ids {sorted(set(bad.tolist()))}; the vocabulary has {vocabulary} tokens.")
