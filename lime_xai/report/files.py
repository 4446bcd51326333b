"""Explained answers as files."""

from __future__ import annotations

import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypedDict

from torch import Tensor

from lime_xai.attribution.files import described, parts_from
from lime_xai.attribution.result import Attribution
from lime_xai.storage.store import holding, read_tensors, write_tensors
from lime_xai.values.checking import checked

from .answer import ContextWord, ExplainedAnswer, ExplainedWord, Step

KEY = "lime_xai.explained"
"""Of the description in the metadata."""

_AFTER, _BEFORE = "answer.", "before."
"""Of the names of the tensors of the answer, and of the answer without a policy."""


_Number = float | str
"""A number; text where it is not finite, which JSON has not: the margin is infinite if no other token is possible."""

_NUMBERS = ("logit", "residual", "probability", "entropy", "margin", "alternative_probability", "grounding")


class _Word(TypedDict):
    text: str
    lead: str
    start: int
    stop: int
    special: bool


class _Explained(_Word):
    logit: _Number
    residual: _Number
    probability: _Number
    entropy: _Number
    margin: _Number
    alternative: str
    alternative_probability: _Number
    grounding: _Number | None
    relevance: dict[str, float]
    shares: dict[str, float]


class _Step(TypedDict):
    losses: list[float]
    share_before: list[float]
    share_after: list[float]
    shares: list[float]


class _Answer(TypedDict):
    attribution: dict[str, Any]
    words: list[_Explained]
    context: list[_Word]
    policies: list[str]
    steps: list[_Step]
    no_grounding: str | None


class _Held(TypedDict):
    answer: _Answer


class _File(_Held, total=False):
    before: _Answer


def write_answer(path: str | Path, found: ExplainedAnswer) -> None:
    """Write an explained answer to one safetensors file.

    Raises
    ------
    ValueError
        If there is no such folder.
    """
    answer, tensors = _described(found, _AFTER)
    description = {"answer": answer}
    if found.before is not None:
        description["before"], others = _described(found.before, _BEFORE)
        tensors |= others
    write_tensors(path, tensors, KEY, description)


def _described(found: ExplainedAnswer, prefix: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    attribution, tensors = described(found.attribution)
    description = {
        "attribution": attribution,
        "words": [_stored(asdict(word)) for word in found.words],
        "context": [asdict(word) for word in found.context],
        "policies": list(found.policies),
        "steps": [asdict(step) for step in found.steps],
        "no_grounding": found.no_grounding,
    }
    return description, {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def read_answer(path: str | Path) -> ExplainedAnswer:
    """Return an explained answer that ``write_answer`` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DamagedFileError
        If it is a file of something else, or its parts do not belong together.
    """
    what = "an explained answer, which ExplainedAnswer.save writes"
    found, tensors = read_tensors(path, KEY, what)
    with holding(path, what, "write it again"):
        checked("its description", found, _File)
        before = _answer(found["before"], tensors, _BEFORE) if "before" in found else None
        return _answer(found["answer"], tensors, _AFTER, before)


def _answer(
    found: dict[str, Any], tensors: dict[str, Tensor], prefix: str, before: ExplainedAnswer | None = None
) -> ExplainedAnswer:
    """Return an answer from its description and tensors.

    Raises
    ------
    TypeError, ValueError
        If something is missing, or the parts do not belong together.
    """
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    attribution = Attribution(**parts_from(found["attribution"], own))
    if attribution.relevance.dim() != 3 or len(attribution.relevance) != 1:
        raise ValueError(f"relevance has shape {tuple(attribution.relevance.shape)}; expected [1, answer, tokens]")
    count, length = attribution.relevance.shape[1:]
    _check_places(found["words"], count, "words")
    _check_places(found["context"], length - count + 1, "context")
    names = {*attribution.row(0).names, "prompt", "answer"}
    for word in found["words"]:
        if set(word["shares"]) != names or set(word["relevance"]) != names:
            raise ValueError(f"a word has shares of {sorted(word['shares'])}; expected {sorted(names)}")
    return ExplainedAnswer(
        attribution=attribution,
        words=tuple(ExplainedWord(**_numbers(_known(word, ExplainedWord))) for word in found["words"]),
        context=tuple(ContextWord(**_known(word, ContextWord)) for word in found["context"]),
        policies=tuple(found["policies"]),
        steps=tuple(Step(*(tuple(step[name]) for name in _Step.__annotations__)) for step in found["steps"]),
        no_grounding=found["no_grounding"],
        before=before,
    )


def _known(data: dict[str, Any], kind: Any) -> dict[str, Any]:
    """Return the entries that a dataclass has."""
    return {item.name: data[item.name] for item in fields(kind)}


def _stored(word: dict[str, Any]) -> dict[str, Any]:
    """Return a word whose numbers JSON has."""
    numbers = {name: word[name] for name in _NUMBERS if word[name] is not None}
    return word | {name: str(value) for name, value in numbers.items() if not math.isfinite(value)}


def _numbers(word: dict[str, Any]) -> dict[str, Any]:
    """Return a word with the numbers that ``_stored`` wrote."""
    return word | {name: float(word[name]) for name in _NUMBERS if word[name] is not None}


def _check_places(words: list[dict[str, Any]], length: int, name: str) -> None:
    """Refuse words that are not in their text."""
    if name == "words" and not words:
        raise ValueError("words is empty")
    for word in words:
        if not 0 <= word["start"] <= word["stop"] <= length:
            raise ValueError(f"{name} has {word['text']!r} at {word['start']} to {word['stop']}, of {length} tokens")
