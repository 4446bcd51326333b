"""What a comparison returns: values per example, means with intervals, tables and figures."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .registry import metric_of
from .store import number, read, write

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Group

    from .statistics import Clusters, Estimate

Summary = Mapping[str, Mapping[str, "Estimate"]]
"""By method, then column."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Attribution methods beside each other.

    Attributes
    ----------
    header : mapping
        ``weights`` (SHA-256 of the model, None if no file was written), ``methods``, ``metrics`` (the columns),
        ``replacements``, ``seed`` and ``labels`` (whether tokens of a word were joined).
    examples : sequence of mapping
        As in the JSON file.
    """

    header: Mapping[str, Any]
    examples: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Comparison:
        """Return the comparison that a file's data describes."""
        return cls(data["header"], data["examples"])

    @classmethod
    def from_json(cls, path: str | Path) -> Comparison:
        """Read what ``to_json``, or ``compare_attributions(out=)``, wrote.

        Raises
        ------
        ValueError
            If it is something else.
        """
        return cls.of(read(Path(path)))

    @property
    def methods(self) -> tuple[str, ...]:
        """Names, the one that others are held against first."""
        return tuple(self.header["methods"])

    @property
    def metrics(self) -> tuple[str, ...]:
        """Columns: names, and ``name@replacement`` for a further replacement."""
        return tuple(self.header["metrics"])

    @property
    def clusters(self) -> tuple[str | int, ...]:
        """``[N]``: the cluster of each example, rows of a batch one by one."""
        return tuple(row["cluster"] for row in self._rows)

    @property
    def _rows(self) -> list[Mapping[str, Any]]:
        return [row for example in self.examples for row in example["rows"]]

    @cached_property
    def values(self) -> dict[str, dict[str, NDArray[np.float64]]]:
        """By method and column, ``[N]`` float64: one value per example, NaN where the metric is undefined."""
        rows = self._rows
        return {
            method: {
                column: np.asarray([row["values"][method][column] for row in rows], np.float64)
                for column in self.metrics
            }
            for method in self.methods
        }

    @cached_property
    def summary(self) -> Summary:
        """By method and column: mean over examples, with its 95 % bootstrap interval over clusters.

        Of costs and residuals, of which single ones lie far out, the median.
        """
        from .statistics import Clusters

        clusters = Clusters(self.clusters)
        return {
            method: {column: _typical(clusters, column, values) for column, values in found.items()}
            for method, found in self.values.items()
        }

    @cached_property
    def differences(self) -> Summary:
        """By method but the first, and column: what the method has more than the first, example by example.

        Summarised as ``summary`` does.
        """
        from .statistics import Clusters

        clusters, first = Clusters(self.clusters), self.values[self.methods[0]]
        return {
            method: {
                column: _typical(clusters, column, self.values[method][column] - first[column])
                for column in self.metrics
            }
            for method in self.methods[1:]
        }

    @property
    def measured(self) -> tuple[str, ...]:
        """Columns that have a value for some method; the others are undefined here (memory off CUDA, say)."""
        return tuple(c for c in self.metrics if any(self.summary[method][c].examples for method in self.methods))

    def best(self, column: str) -> tuple[str, ...]:
        """Return the methods with the best mean in a column; none where neither end is better, or for one method."""
        better = metric_of(column).better
        means = {m: self.summary[m][column].mean for m in self.methods if self.summary[m][column].examples}
        if better is None or len(means) < 2:
            return ()
        top = (max if better == "high" else min)(means.values())
        return tuple(method for method, mean in means.items() if mean == top)

    def table(self) -> Group:
        """Return tables for the terminal: one per family of metrics, then differences against the first method."""
        from .tables import comparison_tables

        return comparison_tables(self)

    def to_csv(self, path: str | Path) -> None:
        """Write one line per method and column: mean, interval, and difference against the first method."""
        names = ["method", "metric", "better", "examples", "mean", "low", "high"]
        names += ["difference", "difference_low", "difference_high"]
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(names)
            for method in self.methods:
                for column in self.metrics:
                    found, more = self.summary[method][column], self.differences.get(method, {}).get(column)
                    numbers = [found.mean, found.low, found.high]
                    numbers += [] if more is None else [more.mean, more.low, more.high]
                    text = ["" if (n := number(value)) is None else n for value in numbers]
                    better = metric_of(column).better or ""
                    writer.writerow([method, column, better, found.examples, *text, *[""] * (6 - len(text))])

    def to_json(self, path: str | Path) -> None:
        """Write everything, summary included; ``compare_attributions(out=path)`` goes on from such a file."""
        parts = {"summary": self.summary, "differences": self.differences}
        data = {
            name: {
                method: {
                    column: {key: number(value) for key, value in vars(found).items()} for column, found in row.items()
                }
                for method, row in part.items()
            }
            for name, part in parts.items()
        }
        write(Path(path), {"header": dict(self.header), **data, "examples": list(self.examples)})

    def to_latex(self, path: str | Path | None = None, metrics: Sequence[str] | None = None) -> str:
        """Return a table for LaTeX's booktabs package, the best of each column bold; write it if there is a path.

        Parameters
        ----------
        path : str or Path, optional
            Where to.
        metrics : sequence of str, optional
            Columns; by default all measured ones.
        """
        from .tables import latex_table

        text = latex_table(self, self.measured if metrics is None else metrics)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def plot(self) -> Figure:
        """Return a figure: the main metrics with their intervals, and cost against ``delta_a``."""
        from .picture import comparison_figure

        return comparison_figure(self)


def _typical(clusters: Clusters, column: str, values: NDArray[np.float64]) -> Estimate:
    """Return the mean or the median, as the metric asks."""
    return clusters.median(values) if metric_of(column).typical == "median" else clusters.mean(values)
