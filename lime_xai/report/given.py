"""Prompts and answers as a caller gives them, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from lime_xai.attribution.targets import resolve_target
from lime_xai.model.prompt import Prompt


def check_one(prompt: Prompt, name: str) -> None:
    """Refuse several prompts, and one without a processor, for a function of this name.

    Raises
    ------
    ValueError
        Saying what to do.
    """
    rows = prompt.positions.input_ids.shape[0]
    if rows != 1:
        raise ValueError(f"inputs hold {rows} prompts; {name} takes one. Call it for each.")
    if prompt.processor is None:
        raise ValueError(f"{name} needs processor=: it decodes tokens to words.")


@contextmanager
def naming(argument: str) -> Iterator[None]:
    """Context in which errors about a target name the argument that it was given as."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"{argument}=: {error}") from error


def given_answer(prompt: Prompt, answer: str | Sequence[int] | Tensor) -> Tensor:
    """Return the ids ``[G]`` of a given answer.

    Raises
    ------
    ValueError
        If a token that ends an answer is before its last.
    """
    ids = prompt.positions.input_ids
    with naming("answer"):
        goal = resolve_target(answer, 1, prompt.vocabulary, ids.device, prompt.processor, ids)
    if goal.ids is None:
        raise ValueError("answer holds no tokens.")
    found = goal.ids[0]
    ends = prompt.model.generation_config.eos_token_id
    if ends is not None and bool(torch.isin(found[:-1], torch.tensor(ends, device=found.device)).any()):
        raise ValueError("answer has tokens after one that ends it; leave them out.")
    return found
