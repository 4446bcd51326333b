"""The paper's table 4 asked again: grounding and reliance before and after an edit, beside the paper's cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group
from rich.table import Table

from lime_xai.evaluation.attributions.statistics import Estimate
from lime_xai.evaluation.benchmarks.paper import SOURCE, Cell, PaperModel
from lime_xai.evaluation.titled import titled_table
from lime_xai.policies.registry import policy_to_dict
from lime_xai.printing import foreign
from lime_xai.storage.store import number

from .paper import GroundingRow, grounding_cells
from .results import BASELINES, MEASURES, GroundingResult

COLUMNS = ("grounding", "reliance")
"""Of table 4: what it calls spatial grounding and modality reliance."""

NOTES = (
    "grounding and reliance are our definitions: the source of the paper's cells has none (docs/how-to/"
    "measure-grounding.md)",
    "before and after: relevance at the policy's own steps, mean over the tokens of an answer, without and with its "
    "changes of keys and values",
    "answer: relevance of the whole answer in the model without a policy; it exists for every policy",
    "the source does not say which pictures the paper has; for sounds 100 clips of DCASE 2019 task 4, and not which",
)


@dataclass(frozen=True)
class GroundingReproduction:
    """Our numbers beside the paper's cells.

    Attributes
    ----------
    model : str
        As the user named it.
    paper : PaperModel or None
        Which of the paper's models it is.
    rows : sequence of GroundingRow
        Everything that was asked for.
    refused : mapping of str to str
        Rows that the model refuses, with the reason.
    found : GroundingResult
        Our measures; its systems are named as the other rows.
    notes : sequence of str
        What is not the paper's setting.
    """

    model: str
    paper: PaperModel | None
    rows: Sequence[GroundingRow]
    refused: Mapping[str, str]
    found: GroundingResult
    notes: Sequence[str]

    @property
    def run(self) -> list[GroundingRow]:
        """The rows that were measured."""
        return [row for row in self.rows if row.name not in self.refused]

    def cell(self, row: GroundingRow, measure: str) -> Cell | None:
        """Return the paper's cell of a row; None if it has none."""
        cells = grounding_cells(self.paper)
        return next((cell for cell in cells if (cell.row, cell.measure) == (row.beside, measure)), None)

    def values(self, row: GroundingRow, measure: str) -> dict[str, Estimate]:
        """Return the values of a row: before and after its changes, their difference, and that of its answer.

        A policy that only observes has no value after: it changes nothing.
        """
        name = row.name
        known = {
            "before": self.found.estimate(name, f"{measure}_before"),
            "after": self.found.estimate(name, f"{measure}_after"),
            "change": self.found.change(name, measure),
            "answer": self.found.estimate(name, measure),
        }
        left_out = ("after", "change") if row.side == "before" else ()
        return {key: value for key, value in known.items() if key not in left_out}

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data; None where a number does not exist."""
        return {
            "title": self.title,
            "model": self.model,
            "paper_model": None if self.paper is None else self.paper.name,
            "source": SOURCE,
            "measures": dict(MEASURES),
            "notes": [*self.notes, *NOTES],
            "unknown": self.found.unknown,
            "rows": [self._row(row) for row in self.rows],
        }

    def _row(self, row: GroundingRow) -> dict[str, Any]:
        known: dict[str, Any] = {"name": row.name, "settings": policy_to_dict(row.policy), "note": row.note}
        if row.name in self.refused:
            return known | {"refused": self.refused[row.name]}
        values = []
        for measure in COLUMNS:
            cell = self.cell(row, measure)
            ours = {key: _percent(one) for key, one in self.values(row, measure).items()}
            paper = None if cell is None else {"value": cell.value, "row": cell.row, "beside": row.side}
            values.append({"measure": measure, "unit": "percent", "ours": ours, "paper": paper})
        return known | {"values": values}

    @property
    def title(self) -> str:
        """What was measured, in one line."""
        measured = len(self.found.rows) - len(self.found.unknown)
        return f"{self.model}, {measured} of {len(self.found.rows)} examples"

    def tables(self) -> Group:
        """Return rich tables: a table for each column of the paper's, and notes."""
        return Group(*(self._table(measure) for measure in COLUMNS), self._notes())

    def _table(self, measure: str) -> Table:
        cells = f"paper: {SOURCE}" if grounding_cells(self.paper) else "the paper has no cells for this model"
        beside = "regular stands beside before, LIME beside after"
        caption = f"percent, with 95 % intervals over pictures or sounds; {beside}; {cells}"
        columns = ("before", "after", "change", "answer")
        table = titled_table(f"{measure}, {self.title}", ("row", *columns, "paper"), caption)
        for row in self.run:
            values, cell = self.values(row, measure), self.cell(row, measure)
            paper = "" if cell is None else f"{cell.value:.0f} ({cell.row}, {cell.table})"
            table.add_row(*map(foreign, (row.name, *(_shown(values.get(name)) for name in columns), paper)))
        for name in BASELINES:
            table.add_row(*map(foreign, (name, "", "", "", _shown(self.found.estimate(name, measure)), "")))
        return table

    def _notes(self) -> Table:
        table = titled_table("what is not the paper's setting, or not known to be", ("of", "note"))
        for note in (*self.notes, *NOTES):
            table.add_row("all rows", foreign(note))
        for row in self.rows:
            reason = self.refused.get(row.name)
            table.add_row(foreign(row.name), foreign(row.note if reason is None else f"not run: {reason}"))
        return table


def _percent(found: Estimate) -> list[float | None]:
    return [number(100 * value) for value in (found.mean, found.low, found.high)]


def _shown(found: Estimate | None) -> str:
    if found is None or found.mean != found.mean:
        return "-"
    value, low, high = (100 * one for one in (found.mean, found.low, found.high))
    return f"{value:.1f}" if low != low else f"{value:.1f} [{low:.1f}, {high:.1f}]"
