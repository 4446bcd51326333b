"""Recording the decoder calls of a prompt, and of a given continuation, by running ``generate`` once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, PreTrainedModel

from .cache import CACHE_NAMES, cache_length, given_cache
from .decoder_call import DecoderCall
from .positions import Positions
from .records import ShortRepr
from .replay import Replayer, StopForward


@dataclass(frozen=True, eq=False, repr=False)
class Recording(ShortRepr):
    """The decoder calls of a prompt and of the tokens after it.

    Attributes
    ----------
    calls : list of DecoderCall
        The prompt, then one token each.
    positions : Positions
        ``[B, T]``: the prompt and all continuation tokens but the last.
    logits : Tensor or None
        ``[B, G, V]`` float32: of the unsteered model, at the last prompt position and at the continuation tokens but
        the last; None if the decoder was not run, or if the calls were recorded earlier.
    """

    calls: list[DecoderCall]
    positions: Positions
    logits: Tensor | None = None


class ForcedTokens(LogitsProcessor):
    """Make ``generate`` choose given tokens.

    Parameters
    ----------
    tokens : Tensor
        ``[B, G]``; after them ``generate`` chooses by itself.
    prompt : int
        Positions of ``input_ids`` before the first of them: none for a prompt of embeddings.
    """

    def __init__(self, tokens: Tensor, prompt: int) -> None:
        self.tokens, self.prompt = tokens, prompt

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores ``[B, V]``: 0 for the given token, minus infinity for all others."""
        index = input_ids.shape[1] - self.prompt
        if index >= self.tokens.shape[1]:
            return scores
        forced = torch.full_like(scores, float("-inf"))
        return forced.scatter(1, self.tokens[:, index : index + 1], 0.0)


@contextmanager
def _plain_settings(model: PreTrainedModel) -> Iterator[None]:
    """Context in which the model's own generation settings neither stop nor sample."""
    saved = model.generation_config
    model.generation_config = GenerationConfig(pad_token_id=saved.pad_token_id or 0)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        model.generation_config = saved


def record(
    replayer: Replayer, inputs: Mapping[str, Any], positions: Positions, continuation: Tensor | None = None
) -> Recording:
    """Run a prompt as ``generate`` would and record the arguments of its decoder calls.

    Driving ``generate`` leaves positions, masks and the encoding of images and sound to the model's own code. Without
    a continuation the run stops at the first decoder call, before the decoder computes anything.

    Parameters
    ----------
    replayer : Replayer
        Of the model.
    inputs : mapping
        What a processor returns.
    positions : Positions
        ``[B, T0]``: of the prompt.
    continuation : Tensor, optional
        ``[B, G]`` tokens to decode after the prompt; the last one is only a target.

    Returns
    -------
    Recording

    Raises
    ------
    ValueError
        If the inputs hold a cache of an earlier turn, or the model generates elsewhere.
    """
    model: Any = replayer.model
    calls: list[DecoderCall] = []
    given = given_cache(inputs)
    if given is not None and cache_length(given):
        raise ValueError(
            f"inputs hold a cache of {cache_length(given)} positions; relevance needs the whole prompt from its first "
            "token. Give input_ids of all turns and leave the cache out."
        )
    arguments = {name: value for name, value in inputs.items() if name not in CACHE_NAMES}
    arguments.setdefault("attention_mask", positions.attended.long())
    arguments |= {"do_sample": False, "use_cache": True}
    if continuation is None:
        with replayer.recording(calls, stop=True), _plain_settings(model), suppress(StopForward):
            model.generate(**arguments, max_new_tokens=1)
        return Recording(calls, positions)
    forced = ForcedTokens(continuation[:, :-1], positions.length if "input_ids" in inputs else 0)
    with replayer.recording(calls), _plain_settings(model):
        output = model.generate(
            **arguments,
            max_new_tokens=continuation.shape[1],
            return_dict_in_generate=True,
            output_logits=True,
            logits_processor=LogitsProcessorList([forced]),
        )
    return Recording(calls, positions.appended(continuation[:, :-1]), torch.stack(output.logits, 1))
