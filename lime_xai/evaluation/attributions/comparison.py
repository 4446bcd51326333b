"""What a comparison returns: values per example, means with intervals, tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Group

from lime_xai.model.records import Content
from lime_xai.storage.store import DamagedFileError, holding, number, read_json, write_json, write_text
from lime_xai.values.checking import checked

from .agreement import ReplacementAgreement
from .registry import metric_of
from .summary import Estimates, Summary
from .tables import comparison_tables, latex_table

if TYPE_CHECKING:
    from lime_xai.attribution.sheet import ShownFigure

FORMAT = 1
"""Of the JSON file; another number is another layout."""


class _Header(TypedDict):
    methods: list[str]
    metrics: list[str]


class _Row(TypedDict):
    cluster: str | int
    values: dict[str, dict[str, float | None]]


class _Example(TypedDict):
    digest: str
    rows: list[_Row]


class _Data(TypedDict):
    header: _Header
    examples: list[_Example]


def _check_columns(data: Mapping[str, Any]) -> None:
    """Refuse unknown metrics, and rows that lack a method or a column of the header."""
    header = data["header"]
    for what, found in (("methods", header["methods"]), ("metrics", header["metrics"]), ("examples", data["examples"])):
        if not found:
            raise ValueError(f"it has no {what}")
    for name in header["metrics"]:
        metric_of(name)
    for index, example in enumerate(data["examples"]):
        if not example["rows"]:
            raise ValueError(f"example {index} has no rows")
        for row in example["rows"]:
            for method in header["methods"]:
                lacking = [column for column in header["metrics"] if column not in row["values"].get(method, {})]
                if lacking:
                    raise ValueError(f"example {index} lacks {', '.join(lacking)} of {method}")


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Content):
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
    def of(cls, data: Mapping[str, Any], path: str | Path = "the data") -> Comparison:
        """Return the comparison that a file's data describes.

        Raises
        ------
        ValueError
            If it is something else, or of another format.
        """
        found = data.get("format") if "examples" in data else None
        if found != FORMAT:
            raise DamagedFileError(
                f"{path} is no comparison of format {FORMAT} (found {found}); give another file name."
            )
        with holding(path, "a comparison"):
            checked("it", data, _Data)
            _check_columns(data)
        return cls(data["header"], data["examples"])

    @classmethod
    def from_json(cls, path: str | Path) -> Comparison:
        """Read what ``to_json``, or ``compare_attributions(out=)``, wrote.

        Raises
        ------
        ValueError
            If it is something else.
        """
        return cls.of(read_json(path, "a comparison"), path)

    @property
    def methods(self) -> tuple[str, ...]:
        """Names; the first is the one that others are compared with."""
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
    def statistics(self) -> Summary:
        """Means, intervals and differences."""
        kinds = tuple(self.header.get("replacements", ()))
        return Summary(self.methods, self.metrics, self.clusters, self.values, kinds)

    @property
    def summary(self) -> Estimates:
        """By method and column: mean over examples, with its 95 % bootstrap interval over clusters.

        Of costs and residuals, which have outliers, the median.
        """
        return self.statistics.means

    @property
    def differences(self) -> Estimates:
        """By method but the first, and column: the method's value minus that of the first, example by example."""
        return self.statistics.differences

    @property
    def replacement_agreement(self) -> list[ReplacementAgreement]:
        """How far kinds of replacement order the methods alike, by metric and pair of kinds; empty for one kind.

        Where they disagree, the order says more about the replacement than about the methods.
        """
        return self.statistics.replacement_agreement

    @property
    def measured(self) -> tuple[str, ...]:
        """Columns that have a value for some method; the others are undefined here (memory off CUDA, say)."""
        return self.statistics.measured

    def best(self, column: str) -> tuple[str, ...]:
        """Return the methods with the best mean in a column; none where neither end is better, or for one method."""
        return self.statistics.best(column)

    def table(self) -> Group:
        """Return tables for the terminal: one per family, differences, and whether kinds of replacement agree."""
        return comparison_tables(self.statistics)

    def frame(self) -> pd.DataFrame:
        """Return one line per method and column: mean, interval, and difference from the first method."""
        lines = []
        for method in self.methods:
            for column in self.metrics:
                found, more = self.summary[method][column], self.differences.get(method, {}).get(column)
                line: dict[str, Any] = {
                    "method": method,
                    "metric": column,
                    "better": metric_of(column).better,
                    "examples": found.examples,
                }
                line |= {name: number(getattr(found, name)) for name in ("mean", "low", "high")}
                parts = {"difference": "mean", "difference_low": "low", "difference_high": "high"}
                line |= {name: None if more is None else number(getattr(more, part)) for name, part in parts.items()}
                lines.append(line)
        return pd.DataFrame(lines)

    def to_csv(self, path: str | Path) -> None:
        """Write ``frame`` as CSV."""
        write_text(path, self.frame().to_csv(index=False))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-ready data, summary included."""
        parts = {"summary": self.summary, "differences": self.differences}
        data: dict[str, Any] = {
            name: {
                method: {
                    column: {key: number(value) for key, value in vars(found).items()} for column, found in row.items()
                }
                for method, row in part.items()
            }
            for name, part in parts.items()
        }
        data["replacement_agreement"] = [
            {
                "metric": found.metric,
                "kinds": list(found.kinds),
                "correlation": {key: number(value) for key, value in vars(found.correlation).items()},
                "best": [list(names) for names in found.best],
            }
            for found in self.replacement_agreement
        ]
        return {"format": FORMAT, "header": dict(self.header), **data, "examples": list(self.examples)}

    def to_json(self, path: str | Path) -> None:
        """Write everything; ``compare_attributions(out=path)`` resumes from such a file."""
        write_json(path, self.to_dict())

    def to_latex(self, path: str | Path | None = None, metrics: Sequence[str] | None = None) -> str:
        """Return a table for LaTeX's booktabs package, the best of each column bold; write it if there is a path.

        Parameters
        ----------
        path : str or Path, optional
            Where to.
        metrics : sequence of str, optional
            Columns; by default all measured ones.
        """
        text = latex_table(self.statistics, self.measured if metrics is None else metrics)
        if path is not None:
            write_text(path, text)
        return text

    def plot(self) -> ShownFigure:
        """Return a figure: the main metrics with their intervals, and cost against ``delta_a``.

        ``save(path)`` also writes the numbers behind it as CSV.
        """
        from .figure import comparison_figure  # matplotlib is slow to import

        return comparison_figure(self.statistics)
