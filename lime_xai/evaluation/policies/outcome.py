"""What was measured of one policy on a world: kept in its report, and counted from it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lime_xai.evaluation.bootstrap import Floats, estimate, interval, nested, resampling_weights
from lime_xai.worlds.shared.evaluation import EvaluationSet
from lime_xai.worlds.shared.metrics import mean_over_scenes
from lime_xai.worlds.shared.records import Rows, recorded, statistics
from lime_xai.worlds.shared.responses import Responses


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

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as JSON-ready data."""
        relevance = {
            name: {"scenes": rows.scenes.tolist(), "values": rows.values.tolist()}
            for name, rows in self.relevance.items()
        }
        return {**self.responses.to_dict(), "relevance": relevance}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Outcome:
        """Return an outcome from what ``to_dict`` made."""
        relevance = {
            name: Rows(np.array(rows["scenes"], np.int64), np.array(rows["values"], np.float64))
            for name, rows in found["relevance"].items()
        }
        return cls(Responses.from_dict(found), relevance)


@dataclass(frozen=True, eq=False)
class PlainResult:
    """A result: seconds per caption token, and every metric over all resamples, [1 + R]."""

    seconds: float
    values: dict[str, Floats]


def counted(
    outcome: Outcome, evaluation: EvaluationSet, plain: PlainResult | None
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


def counted_again(row: dict[str, Any], evaluation: EvaluationSet, plain: PlainResult | None) -> dict[str, Any]:
    """Return a row of a report with its metrics counted anew, beside this plain model; an older row as it is."""
    if "said" not in row:
        return row
    return row | counted(Outcome.from_dict(row["said"]), evaluation, plain)[0]


def numbers(values: Iterable[float]) -> list[float | None]:
    """Return numbers as JSON values of six digits; JSON has no NaN."""
    return [None if value != value else float(f"{value:.6g}") for value in values]
