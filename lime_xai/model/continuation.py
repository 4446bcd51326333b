"""Several generated tokens in one call: their logits, and a check that they are those of one after the other."""

from __future__ import annotations

from weakref import WeakSet

import torch
from torch import Tensor
from transformers import PreTrainedModel

from .decoder_call import DecoderCall, merged
from .gradients import DifferentiableCall, forward_sequence
from .recording import Recording
from .replay import Replayer

TOLERANCE = 0.01
"""Largest difference of two logits, as a part of the largest one, in float32 and float64."""

HALF_TOLERANCE = 0.5
"""For narrower types, in which rounding alone can send a token to another expert."""

_CHECKED: WeakSet[PreTrainedModel] = WeakSet()


def replayed_logits(replayer: Replayer, recording: Recording) -> Tensor:
    """Return the logits ``[B, G, V]`` of a recording, float32, with all generated tokens in one call (``merged``)."""
    inputs = [DifferentiableCall(call, call.embeddings) for call in merged(recording.calls)]
    count = 1 + sum(call.length for call in recording.calls[1:])
    with torch.no_grad():
        return forward_sequence(replayer, inputs, keep=count).float()


def check_continuation(replayer: Replayer, found: Recording) -> None:
    """Refuse a decoder that gives other logits for several tokens in one call than for one after the other.

    ``generate`` decodes one token after the other. Relevance of an answer is computed for all of its tokens in one call
    over a cache (``merged``). Some decoders have code of their own for a call of one token, and do something else for
    several. A model that passes is not checked again: this costs one pass of the decoder.

    Parameters
    ----------
    replayer : Replayer
        Of the model.
    found : Recording
        A new one, with logits.

    Raises
    ------
    NotImplementedError
        Naming the decoder and the difference.
    """
    if found.logits is None or len(found.calls) < 3 or replayer.model in _CHECKED:  # two calls: nothing to merge
        return
    _compare(
        replayer,
        replayed_logits(replayer, found),
        found.logits,
        "An answer of several tokens cannot be explained. Explain one token: give its id as target, the answer before "
        "it in input_ids.",
    )


def check_history(replayer: Replayer, history: list[DecoderCall], plain: Tensor) -> None:
    """Refuse such a decoder where a step runs the tokens generated so far in one call over the prompt's cache.

    The first step that has two of them to merge is checked; the step's own logits come from one after the other.

    Parameters
    ----------
    replayer : Replayer
        Of the model.
    history : list of DecoderCall
        All calls since the prompt.
    plain : Tensor
        ``[B, V]``: the model's own logits at the last of them.

    Raises
    ------
    NotImplementedError
        Naming the decoder and the difference.
    """
    if len(history) < 3 or replayer.model in _CHECKED:
        return
    calls = merged(history)
    if len(calls) == len(history):  # masks that the model makes for each call: the calls stay apart
        return
    with torch.no_grad():
        inputs = [DifferentiableCall(call, call.embeddings) for call in calls]
        replayed = forward_sequence(replayer, inputs)[:, -1].float()
    way_out = 'Relevance cannot be computed over the sequence while it generates. Use scope="cache".'
    _compare(replayer, replayed, plain.to(replayed), way_out)


def _compare(replayer: Replayer, together: Tensor, apart: Tensor, way_out: str) -> None:
    """Refuse a decoder whose logits differ, or note that it was checked."""
    off = float((together - apart).abs().max() / apart.abs().max())
    if off > (HALF_TOLERANCE if replayer.model.dtype.itemsize < torch.float32.itemsize else TOLERANCE):
        raise NotImplementedError(
            f"{type(replayer.decoder).__name__} gives other logits for several tokens in one call than for one after "
            f"the other: they differ by {off:.2g} of the largest one. {way_out} Another release of transformers may "
            "have mended the decoder."
        )
    _CHECKED.add(replayer.model)
