"""Options of ``evaluate`` and ``score``: files of a benchmark, parsers, and results that are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from .files import PICTURE, Output, numbered
from .screen import console

Benchmark = Annotated[str, typer.Option("--benchmark", help="Name of the benchmark.")]
BenchmarkFiles = Annotated[
    list[str] | None,
    typer.Option("--file", help="A file of the benchmark, NAME=PATH; repeatable. PATH alone if there is one only."),
]
Parsers = Annotated[
    str | None,
    typer.Option("--parser", help="How answers are read; several separated by commas. By default the benchmark's."),
]
ResultJson = Annotated[Path | None, typer.Option("--json", help="Results to write.")]
ResultPlot = Annotated[Path | None, typer.Option("--plot", help="Figure of the results to write.")]


@dataclass(frozen=True)
class Wanted:
    """How answers are measured, and what is written of it."""

    parsers: Sequence[str | None]
    json: Path | None = None
    plot: Path | None = None


def wanted_of(parsers: str | None, report: Path | None, plot: Path | None) -> Wanted:
    """Return the options of results."""
    names: list[str | None] = [None] if parsers is None else [name.strip() for name in parsers.split(",")]
    return Wanted(list(dict.fromkeys(names)), report, plot)


def result_outputs(wanted: Wanted) -> list[Output]:
    """Return the files of results, for ``check_outputs``."""
    return [Output("--json", wanted.json, (".json",)), Output("--plot", wanted.plot, PICTURE)]


def read_files(protocol: Any, texts: Sequence[str]) -> dict[str, Path]:
    """Return the files that options name, by the names that a protocol has for them.

    Raises
    ------
    ValueError
        For text without a name where there are several files, for a name that is given twice, or names that the
        protocol does not have.
    FileNotFoundError
        If a file is not there.
    """
    known, found = list(protocol.files), {}
    for text in texts:
        name, separator, path = text.partition("=")
        if not separator and len(known) == 1:
            name, path = known[0], text
        if not path:
            holds = "; ".join(f"{one}: {what}" for one, what in protocol.files.items())
            raise ValueError(f"--file {text} names no file of {protocol.name}; write NAME=PATH. {holds}.")
        if name in found:
            raise ValueError(f"--file {name} is given twice; give each file once.")
        if not Path(path).is_file():
            raise FileNotFoundError(f"--file {name}: there is no file {path}.")
        found[name] = Path(path)
    return found


def show_results(measured: Sequence[Any], wanted: Wanted) -> None:
    """Print results, one for each parser, and write their files."""
    from lime_xai.storage.store import write_json

    for one in measured:
        console.print(one.tables())
    if wanted.json is not None:
        write_json(wanted.json, {"results": [one.to_dict() for one in measured]})
        console.print(f"results: {wanted.json}", soft_wrap=True)
    if wanted.plot is not None:
        for one, path in zip(measured, numbered(wanted.plot, len(measured)), strict=True):
            one.plot().savefig(path, dpi=150)
            console.print(f"figure: {path}", soft_wrap=True)
