"""What was measured of cost beside the paper's figures: tables and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group

from lime_xai.evaluation.benchmarks.paper import SOURCE, PaperModel
from lime_xai.evaluation.titled import titled_table
from lime_xai.policies.registry import policy_to_dict
from lime_xai.printing import foreign

from .alternating import Times
from .generations import PLAIN, Ratios
from .paper import COSTS, CostRow, PaperCost

NOTES = (
    "paper's time is the quotient of its tokens per second, paper's memory that of its GB; the source does not say "
    "whether the first token counts, how long its answers are, or what its memory is of",
    "ratio: of a token to the plain token of the same round, without the first token; median [quartiles]",
    "first token: from the call of generate on, images and sounds encoded; whole answer: all tokens",
)


@dataclass(frozen=True)
class CostResult:
    """Times and memory of all rows.

    Attributes
    ----------
    title : str
        Model, prompt and machine in one line.
    paper : PaperModel or None
        Which of the paper's models it is.
    rows : sequence of CostRow
        What was run, the plain model first.
    times : mapping of str to Times
        In seconds, by name of row.
    peaks : mapping of str to int
        In bytes, weights included, by name of row; empty if they are not known.
    refused : mapping of str to str
        Why a row was not run.
    notes : sequence of str
        How it was measured, and what is not the paper's setting.
    """

    title: str
    paper: PaperModel | None
    rows: Sequence[CostRow]
    times: Mapping[str, Times]
    peaks: Mapping[str, int]
    refused: Mapping[str, str]
    notes: Sequence[str]

    @property
    def cell(self) -> PaperCost | None:
        """The paper's figures for this model; None if it has none."""
        return None if self.paper is None else COSTS.get(self.paper.name)

    def ratios(self, name: str) -> Ratios:
        """Return the times of a row in those of the plain model."""
        return Ratios.of(self.times[name], self.times[PLAIN])

    def peak_ratio(self, name: str) -> float | None:
        """Return the peak memory of a row in that of the plain model; None if it is not known."""
        return self.peaks[name] / self.peaks[PLAIN] if name in self.peaks else None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        return {
            "title": self.title,
            "paper_model": None if self.paper is None else self.paper.name,
            "source": SOURCE,
            "notes": [*self.notes, *NOTES],
            "rows": [self._row(row) for row in self.rows],
        }

    def _row(self, row: CostRow) -> dict[str, Any]:
        found: dict[str, Any] = {
            "name": row.name,
            "settings": None if row.policy is None else policy_to_dict(row.policy),
            "note": row.note,
        }
        if row.name in self.refused:
            return found | {"refused": self.refused[row.name]}
        cell = self.cell if row.of_paper else None
        return found | {
            "seconds": asdict(self.times[row.name]),
            "ratios": asdict(self.ratios(row.name)),
            "peak_bytes": self.peaks.get(row.name),
            "peak_ratio": self.peak_ratio(row.name),
            "paper": None
            if cell is None
            else {**asdict(cell), "time_ratio": cell.time_ratio, "memory_ratio": cell.memory_ratio},
        }

    def tables(self) -> Group:
        """Return rich tables: times and memory beside the paper's, and notes."""
        cells = f"paper: {SOURCE}" if self.cell else "the paper has no cost of this model"
        times = titled_table(self.title, ("row", "ratio", "first token", "whole answer", "tokens/s", "paper"), cells)
        memory = titled_table("peak memory, weights included", ("row", "MB", "ratio", "paper"), cells)
        notes = titled_table("notes", ("of", "note"))
        for note in (*self.notes, *NOTES):
            notes.add_row("all rows", foreign(note))
        for row in self.rows:
            reason = self.refused.get(row.name)
            notes.add_row(foreign(row.name), foreign(row.note if reason is None else f"not run: {reason}"))
            if reason is None:
                times.add_row(*map(foreign, (row.name, *self._times(row))))
            if row.name in self.peaks:
                memory.add_row(*map(foreign, (row.name, *self._memory(row))))
        return Group(times, memory, notes) if self.peaks else Group(times, notes)

    def _times(self, row: CostRow) -> tuple[str, ...]:
        ratios, times, cell = self.ratios(row.name), self.times[row.name], self.cell
        rate = (len(times.tokens) + 1) / times.whole
        paper = ""
        if cell is not None and row.name == PLAIN:
            paper = f"{cell.plain_rate:g} tokens/s"
        elif cell is not None and row.of_paper:
            paper = f"{cell.time_ratio:.2f} ({cell.rate:g} tokens/s)"
        median = f"{ratios.median:.2f} [{ratios.low:.2f}, {ratios.high:.2f}]"
        return median, f"{ratios.first:.2f}", f"{ratios.whole:.2f}", f"{rate:.3g}", paper

    def _memory(self, row: CostRow) -> tuple[str, ...]:
        cell, paper = self.cell, ""
        if cell is not None and row.name == PLAIN:
            paper = f"{cell.plain_memory:g} GB"
        elif cell is not None and row.of_paper:
            paper = f"{cell.memory_ratio:.2f} ({cell.memory:g} GB)"
        return f"{self.peaks[row.name] / 1e6:.0f}", f"{self.peak_ratio(row.name):.2f}", paper
