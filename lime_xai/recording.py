"""Running a prompt, and a given continuation, through ``generate`` once to record its decoder calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, PreTrainedModel

from .calls import DecoderCall
from .replay import Recorded, Replayer


@dataclass(frozen=True)
class Recording:
    """The decoder calls of a prompt and of the tokens after it.

    Attributes
    ----------
    calls : list of DecoderCall
        The prompt, then one token each.
    logits : Tensor
        ``[B, G, V]`` float32: of the model as it is, at the last prompt position and behind it; ``[B, 0, 0]`` if the
        decoder was not run.
    input_ids : Tensor
        ``[B, T]``: prompt and all continuation tokens but the last.
    attended : Tensor
        ``[B, T]``, False on padding.
    """

    calls: list[DecoderCall]
    logits: Tensor
    input_ids: Tensor
    attended: Tensor


class _Forced(LogitsProcessor):
    """Make ``generate`` choose given tokens."""

    def __init__(self, tokens: Tensor, prompt: int) -> None:
        self.tokens, self.prompt = tokens, prompt

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        index = input_ids.shape[1] - self.prompt
        if index >= self.tokens.shape[1]:
            return scores
        forced = torch.full_like(scores, float("-inf"))
        return forced.scatter(1, self.tokens[:, index : index + 1], 0.0)


@contextmanager
def _endless(model: PreTrainedModel) -> Iterator[None]:
    """Context in which the model's own generation settings neither stop nor sample."""
    saved = model.generation_config
    model.generation_config = GenerationConfig(pad_token_id=saved.pad_token_id or 0)  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        model.generation_config = saved


def record(
    replayer: Replayer,
    inputs: Mapping[str, Any],
    input_ids: Tensor,
    continuation: Tensor | None = None,
    run: bool = True,
) -> Recording:
    """Run a prompt as ``generate`` would and record what its decoder was given.

    Driving ``generate`` leaves positions, masks and the encoding of images and sound to the model's own code.

    Parameters
    ----------
    replayer : Replayer
        Of the model.
    inputs : mapping
        What a processor returns.
    input_ids : Tensor
        ``[B, T0]`` prompt ids (zeros if ``inputs`` holds embeddings).
    continuation : Tensor, optional
        ``[B, G]`` tokens to decode after the prompt; the last one is only a target.
    run : bool
        Whether the decoder runs at all. Without a continuation it need not: its first call is all there is to record.

    Returns
    -------
    Recording
    """
    model: Any = replayer.model
    count = 1 if continuation is None else continuation.shape[1]
    prompt = input_ids.shape[1] if "input_ids" in inputs else 0
    forced = [] if continuation is None else [_Forced(continuation[:, :-1], prompt)]
    calls: list[DecoderCall] = []
    logits = torch.zeros(input_ids.shape[0], 0, 0, device=input_ids.device)
    with replayer.recording(calls, stop=not run), _endless(model), suppress(Recorded):
        output = model.generate(
            **inputs,
            max_new_tokens=count,
            do_sample=False,
            use_cache=True,
            return_dict_in_generate=True,
            output_logits=True,
            logits_processor=LogitsProcessorList(forced),
        )
        logits = torch.stack(output.logits, 1)
    mask = inputs.get("attention_mask")
    attended = torch.ones_like(input_ids).bool() if mask is None else mask.bool()
    ids = input_ids
    if continuation is not None and count > 1:
        ids = torch.cat([ids, continuation[:, :-1]], 1)
        attended = torch.cat([attended, torch.ones_like(continuation[:, :-1]).bool()], 1)
    return Recording(calls, logits, ids, attended)
