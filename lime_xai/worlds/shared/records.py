"""What a model or policy did scene by scene, and every metric of it over any weighting of scenes."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .closed import closed_values
from .details import detail_counts, detail_values
from .evaluation import SPLITS, EvaluationSet
from .measuring import Around, generate_captions, groundings, open_answers, question_margins
from .metrics import Floats, caption_counts, caption_values, mean_over_scenes, ratio

Under = Callable[[], AbstractContextManager[Any]]
"""Makes the context in which the model generates, such as ``lambda: lime_xai.steering(model, policy)``."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Values with the scene that each belongs to, both of shape [N, ...]."""

    scenes: NDArray[np.int64]
    values: Floats


@dataclass(frozen=True, eq=False)
class Records:
    """What was done on one evaluation set of S scenes.

    Attributes
    ----------
    captions, no_repeat, detailed : numpy.ndarray
        ``caption_counts`` of plain captions, of those under the ban, and of detailed ones, shape [S, C].
    sentences : numpy.ndarray
        ``detail_counts`` of the detailed captions, shape [S, 4].
    closed : dict of str to Rows
        Per split, columns margin and label.
    opened : dict of str to Rows
        Per kind of open question, columns right and, where the text has a habit, habitual (a wrong answer that the
        text usually gives).
    grounding : dict of str to Rows
        Per kind of probe, nats.
    """

    captions: Floats
    no_repeat: Floats
    detailed: Floats
    sentences: Floats
    closed: dict[str, Rows]
    opened: dict[str, Rows]
    grounding: dict[str, Rows]


def ask(
    model: Any,
    processor: Any,
    evaluation: EvaluationSet,
    under: Under = nullcontext,
    around: Around | None = None,
) -> dict[str, dict[str, Rows]]:
    """Ask all questions and probes of an evaluation set.

    Parameters
    ----------
    model, processor : Any
        The model and its processor.
    evaluation : EvaluationSet
        The set.
    under : callable, optional
        Makes the context to generate in.
    around : callable, optional
        Makes the context of each batch, inside it.

    Returns
    -------
    dict
        ``closed``, ``opened`` and ``grounding`` of ``Records``.
    """
    closed, opened, grounding = {}, {}, {}
    with under():
        for split in SPLITS:
            questions = evaluation.split(split)
            margins = question_margins(model, processor, evaluation, questions, around=around)
            labels = np.array([q.label for q in questions])
            closed[split] = Rows(_scenes(questions), np.stack([margins, labels], axis=1))
        for kind in evaluation.world.open_kinds:
            asked = [q for q in evaluation.open_questions if q.kind == kind]
            answers = open_answers(model, processor, evaluation, asked, around=around)
            right = [(a == q.answer, a == q.habitual != q.answer) for a, q in zip(answers, asked, strict=True)]
            columns = 2 if any(q.habitual is not None for q in asked) else 1
            opened[kind] = Rows(_scenes(asked), np.array(right, np.float64)[:, :columns])
        for kind in evaluation.world.probe_kinds:
            probed = [p for p in evaluation.probes if p.kind == kind]
            nats = groundings(model, processor, evaluation, probed, around=around)
            grounding[kind] = Rows(_scenes(probed), nats)
    return {"closed": closed, "opened": opened, "grounding": grounding}


def _scenes(items: Any) -> NDArray[np.int64]:
    return np.array([item.scene for item in items], np.int64)


def collect(
    model: Any,
    processor: Any,
    evaluation: EvaluationSet,
    under: Under = nullcontext,
    under_questions: Under | None = None,
    captions: Sequence[str] | None = None,
    around: Around | None = None,
    around_questions: Around | None = None,
) -> Records:
    """Do everything that is measured.

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
    Records
        Ready for ``statistics``.
    """
    with under():
        plain = captions or generate_captions(model, processor, evaluation, around=around)
        banned = generate_captions(model, processor, evaluation, no_repeat=True, around=around)
        detailed = generate_captions(model, processor, evaluation, detailed=True, around=around)
    scenes, language = evaluation.scenes, evaluation.world.language
    return Records(
        captions=caption_counts(plain, scenes, language),
        no_repeat=caption_counts(banned, scenes, language),
        detailed=caption_counts(detailed, scenes, language),
        sentences=detail_counts(detailed, scenes, language),
        **ask(model, processor, evaluation, under_questions or under, around_questions or around),
    )


def statistics(records: Records, weights: Floats) -> dict[str, Floats]:
    """Return every metric over weighted samples of the scenes.

    Parameters
    ----------
    records : Records
        Of S scenes.
    weights : numpy.ndarray
        Weight of each scene in each of R samples, shape [R, S]; a row of ones is the plain estimate.

    Returns
    -------
    dict of str to numpy.ndarray
        By dotted name (``chair_i``, ``no_repeat.f1``, ``detailed.true``, ``splits.random.auc``,
        ``open.colour.accuracy``, ``grounding.name``), each of shape [R].
    """
    found = caption_values(weights @ records.captions)
    for prefix, counts in (("no_repeat", records.no_repeat), ("detailed", records.detailed)):
        found |= {f"{prefix}.{name}": value for name, value in caption_values(weights @ counts).items()}
    found |= {f"detailed.{name}": value for name, value in detail_values(weights @ records.sentences).items()}
    for split, rows in records.closed.items():
        values = closed_values(rows.values[:, 0], rows.values[:, 1] > 0, weights[:, rows.scenes])
        found |= {f"splits.{split}.{name}": value for name, value in values.items()}
    for kind, rows in records.opened.items():
        accuracy, *habitual = mean_over_scenes(rows.values, rows.scenes, weights).T
        found[f"open.{kind}.accuracy"] = accuracy
        if habitual:
            found[f"open.{kind}.habitual"] = ratio(habitual[0], 1 - accuracy)
    for kind, rows in records.grounding.items():
        found[f"grounding.{kind}"] = mean_over_scenes(rows.values, rows.scenes, weights)
    return found
