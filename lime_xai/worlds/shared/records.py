"""What a model or policy did scene by scene, and every metric of it over any weighting of scenes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .closed import closed_values
from .details import detail_counts, detail_values
from .evaluation import SPLITS, EvaluationSet
from .metrics import Floats, caption_counts, caption_values, mean_over_scenes, ratio
from .responses import Responses, respond


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


def recorded(responses: Responses, evaluation: EvaluationSet) -> Records:
    """Count what was said on an evaluation set, scene by scene.

    Parameters
    ----------
    responses : Responses
        Of any model or policy.
    evaluation : EvaluationSet
        The set that they are of.

    Returns
    -------
    Records
        Ready for ``statistics``.

    Raises
    ------
    ValueError
        If the responses are not as many as the scenes and questions of the set.
    """
    scenes, world = evaluation.scenes, evaluation.world
    closed, opened, grounding = {}, {}, {}
    for split in SPLITS:
        questions = evaluation.split(split)
        pairs = [(m, q.label) for m, q in zip(responses.margins[split], questions, strict=True)]
        closed[split] = _rows(questions, pairs, 2)
    for kind in world.open_kinds:
        asked = evaluation.asked(kind)
        answered = zip(responses.answers[kind], asked, strict=True)
        columns = 2 if any(q.habitual is not None for q in asked) else 1
        right = [(a == q.answer, a == q.habitual != q.answer)[:columns] for a, q in answered]
        opened[kind] = _rows(asked, right, columns)
    for kind in world.probe_kinds:
        probed, nats = evaluation.probed(kind), responses.grounding[kind]
        grounding[kind] = _rows(probed, [value for value, _ in zip(nats, probed, strict=True)])
    return Records(
        captions=caption_counts(responses.captions, scenes, world.language),
        no_repeat=caption_counts(responses.no_repeat, scenes, world.language),
        detailed=caption_counts(responses.detailed, scenes, world.language),
        sentences=detail_counts(responses.detailed, scenes, world.language),
        closed=closed,
        opened=opened,
        grounding=grounding,
    )


def _rows(items: Sequence[Any], values: Sequence[Any], *columns: int) -> Rows:
    scenes = np.array([item.scene for item in items], np.int64)
    return Rows(scenes, np.array(values, np.float64).reshape(len(items), *columns))


def collect(model: Any, processor: Any, evaluation: EvaluationSet, *given: Any, **others: Any) -> Records:
    """Do everything that is measured, and count it: ``recorded`` of ``respond``, which has the same parameters."""
    return recorded(respond(model, processor, evaluation, *given, **others), evaluation)


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
