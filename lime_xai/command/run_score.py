"""What ``lime-xai score`` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lime_xai.errors import unknown_name
from lime_xai.evaluation.benchmarks import protocols as protocols  # registers them
from lime_xai.evaluation.benchmarks.protocol import protocol_of
from lime_xai.evaluation.benchmarks.results import conditions_of, results
from lime_xai.evaluation.benchmarks.written import Written, answered, check_benchmark, read_written, together

from .benchmarks import Wanted, read_files, show_results
from .screen import notice


def run_score(
    paths: Sequence[Path],
    benchmark: str,
    files: Sequence[str],
    wanted: Wanted,
    against: str | None = None,
    partial: bool = False,
) -> None:
    """Measure answers, print tables and write files.

    Parameters
    ----------
    paths : sequence of Path
        Files of answers.
    benchmark : str
        Name of a protocol.
    files : sequence of str
        Its files, as ``read_files`` takes them.
    wanted : Wanted
        Parsers, and files to write, checked before.
    against : str, optional
        Name of the system that others are compared with.
    partial : bool
        Whether parts of files and of answers are meant.

    Raises
    ------
    ValueError, FileNotFoundError
        For names and files that do not fit.
    """
    protocol = protocol_of(benchmark)
    for parser in wanted.parsers:
        protocol.check_parser(protocol.parsers[0] if parser is None else parser)
    named = read_files(protocol, files)
    written = [read_written(path) for path in paths]
    for one in written:
        check_benchmark(one, protocol, named)
        note_changes(one)
    items = protocol.read(named, partial=partial)
    systems = together(written)
    if against is not None and against not in systems:
        raise unknown_name("system", against, systems)
    chosen, left = answered(items, systems, partial=partial)
    for system, count in left.items():
        if count:
            notice(f"{system} has not answered {count} of {len(items)} items; they are left out for all.")
    made = conditions_of(written[0].header) if len(written) == 1 and written[0].header is not None else {}
    show_results(
        [
            results(protocol, chosen, systems, parser, against=against, of=len(items), conditions=made)
            for parser in wanted.parsers
        ],
        wanted,
    )


def note_changes(written: Written) -> None:
    """Say if several runs with other versions or on other devices wrote a file."""
    for name, values in (written.changed or {}).items():
        listed = ", ".join(str(value) for value in values)
        notice(f"{written.path} was written by runs that differ in {name}: {listed}. Answers may differ by rounding.")
