"""What was measured of grounding: a value per example and system, means with intervals, and paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Group
from rich.table import Table

from lime_xai.evaluation.attributions.statistics import Clusters, Estimate
from lime_xai.evaluation.bootstrap import Floats, bounded
from lime_xai.evaluation.titled import titled_table
from lime_xai.printing import foreign
from lime_xai.storage.store import DamagedFileError, number, read_json, write_json

FORMAT: Final = "grounding of lime_xai, 2"

MEASURES: Final[Mapping[str, str]] = {
    "grounding": "share of the positive relevance of the medium's tokens that lies in the region",
    "pointing": "whether the most relevant token of the medium lies in the region; equal ones count their share",
    "reliance": "share of the absolute relevance, but that of the first position, that the medium's tokens have",
    "grounding_before": "grounding of what the policy recorded at its steps before a change: mean over tokens",
    "grounding_after": "the same after its change of keys and values; a dash if it records none",
    "reliance_before": "reliance of what the policy recorded at its steps before a change: mean over tokens",
    "reliance_after": "the same after its change of keys and values; a dash if it records none",
}
"""By name: what it is."""

EVEN, RANDOM = "even relevance", "random relevance"
BASELINES: Final = {
    EVEN: "the same relevance everywhere: grounding and pointing are then the region's share of the tokens",
    RANDOM: "relevance drawn from a normal distribution",
}
"""Beside the systems: relevance that knows nothing."""


@dataclass(frozen=True, eq=False, repr=False)
class GroundingResult:
    """What was measured.

    Attributes
    ----------
    identity : dict
        Model, methods, policies, examples: what decides the values.
    setting : dict
        Versions and device.
    systems : sequence of str
        Names, the first is the one that others are compared with; baselines are not among them.
    rows : sequence of dict
        Per example: ``id``, ``cluster``, and ``values``, by system and measure, None where there is no value; or
        ``unknown``, the reason why the region's tokens are not known.
    """

    identity: dict[str, Any]
    setting: dict[str, Any]
    systems: Sequence[str]
    rows: Sequence[dict[str, Any]]

    @property
    def unknown(self) -> dict[str, str]:
        """Reasons by the names of examples that could not be measured."""
        return {row["id"]: row["unknown"] for row in self.rows if "unknown" in row}

    @cached_property
    def _known(self) -> list[dict[str, Any]]:
        return [row for row in self.rows if "values" in row]

    @cached_property
    def _clusters(self) -> Clusters | None:
        return Clusters([row["cluster"] for row in self._known]) if self._known else None

    def values(self, system: str, measure: str) -> Floats:
        """Return the values ``[N]`` of the examples that were measured; NaN where there is none."""
        found = [row["values"][system].get(measure) for row in self._known]
        return np.array([np.nan if value is None else value for value in found], dtype=np.float64)

    def estimate(self, system: str, measure: str) -> Estimate:
        """Return the mean over examples with its 95 % interval over units.

        The mean is NaN if no example has a value, and the interval is NaN if one unit only has: it cannot be resampled.
        """
        return self._mean(self.values(system, measure))

    def difference(self, system: str, measure: str, against: str | None = None) -> Estimate:
        """Return the mean of ``system`` minus that of another over the same examples; by default the first system."""
        other = self.systems[0] if against is None else against
        return self._mean(self.values(system, measure) - self.values(other, measure))

    def change(self, system: str, measure: str) -> Estimate:
        """Return the mean of what a policy's own steps recorded after a change minus that before it, over examples.

        Parameters
        ----------
        system : str
            Of ``systems``.
        measure : {"grounding", "reliance"}
            Which.
        """
        return self._mean(self.values(system, f"{measure}_after") - self.values(system, f"{measure}_before"))

    def _mean(self, values: Floats) -> Estimate:
        if self._clusters is None:
            return Estimate(np.nan, np.nan, np.nan, 0)
        found = self._clusters.mean(values)
        units = len(set(self._clusters.index[np.isfinite(values)]))
        return found if units > 1 else replace(found, low=np.nan, high=np.nan)

    def summary(self) -> dict[str, Any]:
        """Return means, differences to the first system and to even relevance, for JSON."""
        return {
            system: {
                measure: {
                    "mean": _plain(self.estimate(system, measure)),
                    f"minus {self.systems[0]}": _plain(self.difference(system, measure)),
                    f"minus {EVEN}": _plain(self.difference(system, measure, EVEN)),
                }
                for measure in MEASURES
            }
            for system in (*self.systems, *BASELINES)
        }

    def to_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return {
            "format": FORMAT,
            "identity": self.identity,
            "setting": self.setting,
            "measures": dict(MEASURES),
            "baselines": BASELINES,
            "systems": list(self.systems),
            "summary": self.summary(),
            "rows": list(self.rows),
        }

    def save(self, path: str | Path) -> None:
        """Write everything as JSON, whole."""
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | Path) -> GroundingResult:
        """Read what ``save`` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        DamagedFileError
            If it is something else.
        """
        data = read_json(path, "a result of grounding")
        if data.get("format") != FORMAT:
            raise DamagedFileError(f"{path} is no result of grounding of this version; give another file name.")
        return cls(data["identity"], data["setting"], data["systems"], data["rows"])

    def tables(self) -> Group:
        """Return tables for a terminal: means, and differences to the first system."""
        known = [name for name in MEASURES if any(self.estimate(one, name).examples for one in self.systems)]
        units = 0 if self._clusters is None else self._clusters.count
        drawn = f"mean [95 % bootstrap interval over {units} units]" if units > 1 else "one unit, no intervals"
        note = f"{len(self._known)} {'example' if len(self._known) == 1 else 'examples'}; {drawn}"
        if self.unknown:
            note += f"; left out as unknown: {len(self.unknown)}"
        title = "grounding (definitions are ours)"
        rows = {system: [self.estimate(system, name) for name in known] for system in (*self.systems, *BASELINES)}
        found = [_table(title, known, rows, note)]
        if len(self.systems) > 1:
            changes = {
                system: [self.difference(system, name) for name in known]
                for system in self.systems
                if system != self.systems[0]
            }
            found.append(_table(f"change against {self.systems[0]}", known, changes, "paired over examples"))
        return Group(*found)


def _plain(found: Estimate) -> dict[str, Any]:
    values = {"value": found.mean, "low": found.low, "high": found.high}
    return {**{name: number(value) for name, value in values.items()}, "examples": found.examples}


def _table(title: str, measures: Sequence[str], rows: Mapping[str, Sequence[Estimate]], caption: str) -> Table:
    table = titled_table(title, ("relevance",), caption)
    for name in measures:
        table.add_column(name, justify="right")
    for system, values in rows.items():
        cells = [bounded(number(one.mean), number(one.low), number(one.high)) for one in values]
        table.add_row(foreign(system), *(cell.replace(" [", "\n[") for cell in cells))
    return table
