"""The parts of an explained answer, from an attribution and the decisions of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lime_xai.attribution.result import Attribution
from lime_xai.decoding.trace import SteeringTrace
from lime_xai.model.prompt import Prompt

from .answer import ContextWord, ExplainedWord, Step
from .decisions import Decisions
from .words import words_of

PROMPT, ANSWER = "prompt", "answer"
"""Parts of the text: the words of the prompt, and the words of the answer before the explained one."""


def on_cpu(found: Attribution) -> Attribution:
    """Return an attribution with its tensors on the CPU."""
    names = ("relevance", "input_ids", "target_ids", "logits", "attended", "convergence_delta")
    moved: dict[str, Any] = {name: getattr(found, name) for name in names if getattr(found, name) is not None}
    return replace(found, **{name: tensor.cpu() for name, tensor in moved.items()})


def prompt_words(prompt: Prompt) -> tuple[ContextWord, ...]:
    """Return the words of a prompt, with the positions of their tokens; attended text alone."""
    ids = prompt.positions.input_ids[0].tolist()
    found: list[ContextWord] = []
    for span in prompt.positions.spans[0]:
        if span.modality != "text":
            continue
        words = words_of(ids[span.start : span.stop], prompt.processor, ids[max(0, span.start - 1) : span.start])
        found += [
            ContextWord(word.text, word.lead, span.start + word.start, span.start + word.stop, word.special)
            for word in words
        ]
    return tuple(found)


def parts_of(found: Attribution, length: int) -> dict[str, Tensor]:
    """Return masks ``[T]``: every image, video and sound by its name, the text of the prompt and of the answer."""
    row = found.row(0)
    positions = torch.arange(found.relevance.shape[-1])
    parts = {
        name: torch.isin(positions, torch.tensor(layout.positions))
        for name, layout in zip(row.names, row.layouts, strict=True)
    }
    text = found.mask("text")[0].cpu()
    return {**parts, PROMPT: text & (positions < length), ANSWER: text & (positions >= length)}


def explained_words(
    prompt: Prompt, found: Attribution, ids: Tensor, sure: Decisions, grounding: Tensor | None
) -> tuple[ExplainedWord, ...]:
    """Return the words of an answer.

    Parameters
    ----------
    prompt : Prompt
        One row, with a processor.
    found : Attribution
        Relevance ``[1, G, T]``.
    ids : Tensor
        ``[G]``.
    sure : Decisions
        Of the tokens.
    grounding : Tensor or None
        ``[G]`` in nats.
    """
    parts = parts_of(found, prompt.positions.length)
    relevance = found.relevance[0].float().cpu()
    before = prompt.positions.input_ids[0, -1:].tolist()
    made = []
    for word in words_of(ids.tolist(), prompt.processor, before):
        tokens = slice(word.start, word.stop)
        values = relevance[tokens].sum(0)
        total = float(values.abs().sum()) or 1.0
        logit = float(found.logits[0, tokens].sum())
        other = int(sure.alternative[word.start])
        made.append(
            ExplainedWord(
                text=word.text,
                lead=word.lead,
                start=word.start,
                stop=word.stop,
                special=word.special,
                logit=logit,
                residual=float(values.sum()) - logit,
                probability=float(sure.log_probability[tokens].sum().exp()),
                entropy=float(sure.entropy[word.start]),
                margin=float(sure.margin[word.start]),
                alternative=_token_text(prompt, other),
                alternative_probability=float(sure.alternative_probability[word.start]),
                grounding=None if grounding is None else float(grounding[tokens].sum()),
                relevance={name: float(values[mask].sum()) for name, mask in parts.items()},
                shares={name: float(values[mask].abs().sum()) / total for name, mask in parts.items()},
            )
        )
    return tuple(made)


def _token_text(prompt: Prompt, token: int) -> str:
    """Return a token as text; tokens of bytes that are no character have their name."""
    tokenizer = getattr(prompt.processor, "tokenizer", prompt.processor)
    text = str(tokenizer.decode([token], skip_special_tokens=False)).strip()
    return text if text and "\N{REPLACEMENT CHARACTER}" not in text else str(tokenizer.convert_ids_to_tokens(token))


def steps_of(trace: SteeringTrace | None) -> tuple[Step, ...]:
    """Return what policies did at each token."""
    if trace is None:
        return ()
    return tuple(
        Step(*map(_numbers, (step.losses, step.share_before, step.share_after, step.shares))) for step in trace.steps
    )


def _numbers(values: Tensor | None) -> tuple[float, ...]:
    found: Sequence[float] = [] if values is None else values.float().cpu().flatten().tolist()
    return tuple(found)
