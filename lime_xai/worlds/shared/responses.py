"""What a model or policy says on an evaluation set: captions, answers and probed words, before anything is counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, fields
from typing import Any

from lime_xai.storage.store import number

from .evaluation import SPLITS, EvaluationSet
from .measuring import Around, generate_captions, groundings, open_answers, question_margins

Under = Callable[[], AbstractContextManager[Any]]
"""Makes the context in which the model generates, such as ``lambda: lime_xai.steering(model, policy)``."""


@dataclass(frozen=True)
class Responses:
    """What was said on an evaluation set of S scenes; a report keeps it, so that it can be counted again.

    Attributes
    ----------
    captions, no_repeat, detailed : list of str
        Plain captions, those under the ban on naming an object twice, and detailed ones; S each.
    margins : dict of str to list of float
        Per split, ``question_margins`` of its questions, with nine digits, more than float32 has.
    answers : dict of str to list of str
        Per kind of open question, ``open_answers``.
    grounding : dict of str to list of float
        Per kind of probe, ``groundings`` in nats.
    """

    captions: list[str]
    no_repeat: list[str]
    detailed: list[str]
    margins: dict[str, list[float]]
    answers: dict[str, list[str]]
    grounding: dict[str, list[float]]

    def to_dict(self) -> dict[str, Any]:
        """Return the responses as JSON-ready data; JSON has neither NaN nor infinity, and has None in their place."""
        numbers = {
            name: {kind: [number(value, 9) for value in values] for kind, values in held.items()}
            for name, held in (("margins", self.margins), ("grounding", self.grounding))
        }
        return {**asdict(self), **numbers}

    def check(self, evaluation: EvaluationSet) -> None:
        """Refuse responses that are not as many as what is asked.

        Raises
        ------
        ValueError
            Naming what was found and expected.
        """
        wanted = {
            **{name: (getattr(self, name), evaluation.scenes) for name in ("captions", "no_repeat", "detailed")},
            **{f"margins of {kind}": (self.margins.get(kind, ()), evaluation.split(kind)) for kind in SPLITS},
            **{
                f"answers about {kind}": (self.answers.get(kind, ()), evaluation.asked(kind))
                for kind in evaluation.world.open_kinds
            },
            **{
                f"grounding of {kind}": (self.grounding.get(kind, ()), evaluation.probed(kind))
                for kind in evaluation.world.probe_kinds
            },
        }
        for name, (said, asked) in wanted.items():
            if len(said) != len(asked):
                raise ValueError(f"found {len(said)} {name}, expected {len(asked)}")

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Responses:
        """Return responses from what ``to_dict`` made; None becomes NaN."""
        held = {item.name: found[item.name] for item in fields(cls)}
        for name in ("margins", "grounding"):
            held[name] = {kind: _floats(values) for kind, values in found[name].items()}
        return cls(**held)


def digits(values: Iterable[float]) -> list[float]:
    """Return numbers with nine significant digits: a report holds thousands."""
    return [float(f"{value:.9g}") for value in values]


def _floats(values: Iterable[float | None]) -> list[float]:
    return [math.nan if value is None else float(value) for value in values]


def respond(
    model: Any,
    processor: Any,
    evaluation: EvaluationSet,
    under: Under = nullcontext,
    under_questions: Under | None = None,
    captions: Sequence[str] | None = None,
    around: Around | None = None,
    around_questions: Around | None = None,
) -> Responses:
    """Generate captions, and answer all questions and probes of an evaluation set.

    Parameters
    ----------
    model, processor : Any
        The world's model and its processor.
    evaluation : EvaluationSet
        The set.
    under : callable, optional
        Makes the context in which captions are generated.
    under_questions : callable, optional
        That of questions and probes, if another: their logits must be finite.
    captions : sequence of str, optional
        The plain captions, if they have been generated already.
    around, around_questions : callable, optional
        Make the context of each batch, of captions and of questions.

    Returns
    -------
    Responses
    """
    with under():
        plain = captions or generate_captions(model, processor, evaluation, around=around)
        banned = generate_captions(model, processor, evaluation, no_repeat=True, around=around)
        detailed = generate_captions(model, processor, evaluation, detailed=True, around=around)
    margins: dict[str, list[float]] = {}
    answers: dict[str, list[str]] = {}
    grounding: dict[str, list[float]] = {}
    beside = around_questions or around
    with (under_questions or under)():
        for split in SPLITS:
            found = question_margins(model, processor, evaluation, evaluation.split(split), around=beside)
            margins[split] = digits(found)
        for kind in evaluation.world.open_kinds:
            answers[kind] = open_answers(model, processor, evaluation, evaluation.asked(kind), around=beside)
        for kind in evaluation.world.probe_kinds:
            grounding[kind] = digits(groundings(model, processor, evaluation, evaluation.probed(kind), around=beside))
    return Responses(list(plain), banned, detailed, margins, answers, grounding)
