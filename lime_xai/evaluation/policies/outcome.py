"""What was measured of one policy on a world: kept in its report, and counted from it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lime_xai.evaluation.bootstrap import Floats, estimate, interval, nested, resampling_weights
from lime_xai.storage.store import number
from lime_xai.worlds.shared.evaluation import EvaluationSet
from lime_xai.worlds.shared.metrics import mean_over_scenes
from lime_xai.worlds.shared.records import Rows, recorded, statistics
from lime_xai.worlds.shared.responses import Responses

from .reliance import INSIDE, SHARE


@dataclass(frozen=True, eq=False)
class Outcome:
    """What was said on an evaluation set of S scenes, and where its relevance lies.

    Attributes
    ----------
    responses : Responses
        What was said.
    relevance : dict of str to Rows
        ``caption_relevance`` of the plain captions.
    """

    responses: Responses
    relevance: dict[str, Rows]

    def values(self, evaluation: EvaluationSet, weights: Floats) -> dict[str, Floats]:
        """Return every metric over weighted samples of the scenes.

        Parameters
        ----------
        evaluation : EvaluationSet
            The set.
        weights : numpy.ndarray
            Weight of each scene in each of R samples, shape [R, S].

        Returns
        -------
        dict of str to numpy.ndarray
            ``statistics``, and means of ``relevance`` under ``relevance.NAME``, each of shape [R].

        Raises
        ------
        ValueError
            If the responses are not as many as the scenes and questions of the set.
        """
        relevant = {
            f"relevance.{name}": mean_over_scenes(rows.values, rows.scenes, weights)
            for name, rows in self.relevance.items()
        }
        return statistics(recorded(self.responses, evaluation), weights) | relevant

    def to_dict(self, evaluation: EvaluationSet) -> dict[str, Any]:
        """Return the outcome as JSON-ready data, with the fingerprint of the set that it is of under ``of``."""
        relevance = {
            name: {"scenes": rows.scenes.tolist(), "values": [number(value, 9) for value in rows.values.tolist()]}
            for name, rows in self.relevance.items()
        }
        return {"of": evaluation.fingerprint, **self.responses.to_dict(), "relevance": relevance}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any], evaluation: EvaluationSet) -> Outcome:
        """Return an outcome from what ``to_dict`` made.

        Raises
        ------
        ValueError
            If it does not fit the evaluation set.
        """
        relevance = {
            name: Rows(np.array(rows["scenes"], np.int64), np.array(rows["values"], np.float64))
            for name, rows in found["relevance"].items()
        }
        for name in (SHARE, INSIDE):
            if name not in relevance:
                raise ValueError(f"the relevance lacks {name}")
            scenes, values = relevance[name].scenes, relevance[name].values
            if scenes.shape != values.shape or not np.isin(scenes, np.arange(len(evaluation.scenes))).all():
                raise ValueError(f"the {name} of the relevance has no scene for each value")
        responses = Responses.from_dict(found)
        responses.check(evaluation)
        return cls(responses, relevance)


@dataclass(frozen=True, eq=False)
class Result:
    """Seconds per caption token (``clock``), and every metric over all resamples, [1 + R]."""

    seconds: float
    values: dict[str, Floats]


def counted(
    outcome: Outcome, evaluation: EvaluationSet, plain: Result | None
) -> tuple[dict[str, Any], dict[str, Floats]]:
    """Return the metrics of a row with intervals and differences, and every metric over all resamples."""
    found = outcome.values(evaluation, resampling_weights(len(evaluation.scenes)))
    differences = {} if plain is None else {name: numbers(estimate(found[name] - plain.values[name])) for name in found}
    row = {
        **nested({name: numbers(values[:1])[0] for name, values in found.items()}),
        "intervals": {name: numbers(interval(values[1:])) for name, values in found.items()},
        "differences": differences,
    }
    return row, found


def held(name: str, row: Mapping[str, Any], evaluation: EvaluationSet) -> Outcome | None:
    """Return what a report's row says of an evaluation set.

    Parameters
    ----------
    name : str
        The row's policy.
    row : mapping
        The row.
    evaluation : EvaluationSet
        The set.

    Returns
    -------
    Outcome or None
        None if the row holds nothing that was said, or was measured on another set: one that an older version drew,
        say.

    Raises
    ------
    ValueError
        If what it holds is damaged.
    """
    said = row.get("said")
    if said is None or said["of"] != evaluation.fingerprint:
        return None
    try:
        return Outcome.from_dict(said, evaluation)
    except ValueError as error:
        raise ValueError(
            f"The report's row of {name!r} is damaged: {error}. Take the row away to measure it again, or give another "
            "file name."
        ) from error


def numbers(values: Iterable[float]) -> list[float | None]:
    """Return numbers as JSON values of six digits; None for NaN and infinity."""
    return [number(value, 6) for value in values]
