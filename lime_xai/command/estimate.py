"""What will take long: forward passes by a method's own count, seconds by a pass that is timed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch

from lime_rules.attempts import attempt
from lime_xai.attribution.groups import groups_of
from lime_xai.attribution.methods.base import check_cost
from lime_xai.attribution.methods.task import AttributionMethod
from lime_xai.attribution.problem import problems
from lime_xai.attribution.targets import TargetLike, resolve_target
from lime_xai.model.decoder_call import DecoderCall
from lime_xai.model.exclusive import borrowed, memory_kept
from lime_xai.model.pieces import token_labels
from lime_xai.model.prompt import Prompt

from .progress import duration

FEW = 20
"""Passes up to which nothing is timed."""

PART = 512
"""Tokens of the pass that is timed for a long prompt."""


@dataclass(frozen=True)
class Cost:
    """What one attribution costs.

    Attributes
    ----------
    passes : int
        Forward passes of one row.
    length : int
        Tokens of the row.
    seconds : float
        Passes times the time of one; batched passes take less.
    """

    passes: int
    length: int
    seconds: float


def estimated(prompt: Prompt, method: AttributionMethod, target: TargetLike) -> Cost | None:
    """Return what an attribution of the sum of a target's tokens will cost; None for methods of few passes.

    Parameters
    ----------
    prompt : Prompt
        One row; it is recorded, as the attribution would do.
    method : AttributionMethod
        Methods that work row by row tell their passes.
    target : int, tuple, str, Tensor or None
        As in ``attribute``.

    Raises
    ------
    ValueError
        If the method would cost more than its limit.
    """
    counted: Any = method
    if not hasattr(method, "passes"):
        return None
    ids = prompt.positions.input_ids
    goal = resolve_target(target, 1, prompt.vocabulary, ids.device, prompt.processor, ids)
    with torch.no_grad():
        recording = prompt.recording(goal.continuation, logits=True)
        if recording.logits is None:
            raise RuntimeError("The prompt was recorded without logits.")
        rows = list(problems(prompt, recording, goal.chosen(recording.logits)))
        labels = token_labels(recording.positions.input_ids, prompt.processor)
        groups = groups_of(rows, None, labels)
        check_cost(counted, rows[0], groups[0])
        passes = int(counted.passes(rows[0], groups[0]))
        if passes <= FEW:
            return None
        synchronised()
        start = time.perf_counter()
        rows[0].values(*rows[0].inputs)
        synchronised()
    return Cost(passes, recording.positions.length, passes * (time.perf_counter() - start))


def announcement(prompt: Prompt) -> str:
    """Return what to tell of a long prompt before anything is computed: its tokens, and the time of a forward pass.

    A pass over a few tokens is timed and scaled by the number of tokens. Decoders that need more than embeddings are
    not timed.

    Parameters
    ----------
    prompt : Prompt
        Of any number of rows.
    """
    length = prompt.positions.length
    counts = [f"{int(mask.sum())} of them {name}" for name, mask in prompt.positions.modalities.items()]
    told = f"The prompt has {', '.join([f'{length} tokens', *counts])}; "
    seconds = _timed(prompt, min(PART, length))
    if isinstance(seconds, float):
        whole = duration(seconds * length / min(PART, length))
        told += f"one forward pass of the decoder takes about {whole} or more, and attnlrp two to three of them; "
    return told + "time and memory grow with its length, those of attention with its square."


def _timed(prompt: Prompt, count: int) -> float | Exception:
    """Return the seconds of a pass over some neutral tokens, or the error of a decoder that needs more than these."""

    def run(count: int) -> float:
        embeddings = prompt.replayer.neutral_embeddings(count)
        synchronised()
        start = time.perf_counter()
        prompt.replayer.run(DecoderCall(embeddings, {}), embeddings, None)
        synchronised()
        return time.perf_counter() - start

    with borrowed(prompt.model), memory_kept(prompt.model), torch.no_grad():
        found = attempt(lambda: run(2), (RuntimeError, ValueError, TypeError))  # what is done once is not timed
        return found if isinstance(found, Exception) else run(count)


def synchronised() -> None:
    """Wait for a CUDA device, so that a clock can be read."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
