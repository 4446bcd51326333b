"""What ``lime-xai score`` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lime_xai.errors import unknown_name
from lime_xai.evaluation.benchmarks import protocols as protocols  # registers them
from lime_xai.evaluation.benchmarks.answers import Answer
from lime_xai.evaluation.benchmarks.asking import Asking, Decoding, check_items
from lime_xai.evaluation.benchmarks.protocol import Item, Protocol, protocol_of
from lime_xai.evaluation.benchmarks.results import conditions_of, results
from lime_xai.evaluation.benchmarks.written import Written, answered, check_benchmark, read_written, together

from .benchmarks import Wanted, read_files, show_results
from .loading import check_device, find_checkpoint, load_model
from .run_words import asked_of, check_words, run_words
from .screen import notice


@dataclass(frozen=True)
class Words:
    """How words of answers are scored, as the options say it."""

    model: str
    out: Path
    media: Path | None
    style: str | None
    device: str | None
    dtype: str


def run_score(
    paths: Sequence[Path],
    benchmark: str,
    files: Sequence[str],
    wanted: Wanted,
    against: str | None = None,
    partial: bool = False,
    words: Words | None = None,
) -> None:
    """Measure answers, print tables and write files; with a model, score their words too.

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
    words : Words, optional
        The model that scores words, and the file of them.

    Raises
    ------
    ValueError, FileNotFoundError
        For names and files that do not fit.
    """
    if words is not None:
        check_device(words.device)
    protocol = protocol_of(benchmark)
    for parser in wanted.parsers:
        protocol.check_parser(protocol.parsers[0] if parser is None else parser)
    named = read_files(protocol, files)
    written = [read_written(path) for path in paths]
    for one in written:
        check_benchmark(one, protocol, named)
        note_changes(one)
    items = protocol.read(named, None if words is None else words.media, partial=partial)
    systems = together(written)
    if against is not None and against not in systems:
        raise unknown_name("system", against, systems)
    chosen, left = answered(items, systems, partial=partial)
    for system, count in left.items():
        if count:
            notice(f"{system} has not answered {count} of {len(items)} items; they are left out for all.")
    made = conditions_of(written[0].header) if len(written) == 1 and written[0].header is not None else {}
    score_words = None if words is None else _prepared(words, protocol, chosen, named, systems)
    show_results(
        [
            results(protocol, chosen, systems, parser, against=against, of=len(items), conditions=made)
            for parser in wanted.parsers
        ],
        wanted,
    )
    if score_words is not None:
        score_words()


def _prepared(
    words: Words,
    protocol: Protocol,
    items: Sequence[Item],
    files: dict[str, Path],
    systems: dict[str, dict[str, Answer]],
) -> Callable[[], None]:
    """Check what can be checked without a model; return what loads it and scores the words."""
    asking = Asking(protocol, items, files, Decoding(protocol.tokens), words.style)
    check_items(items)
    check_words(words.out, asked_of(asking))
    found = find_checkpoint(words.model)

    def run() -> None:
        model, processor = load_model(found, words.device, words.dtype)
        run_words(model, processor, asking, systems, words.out)

    return run


def note_changes(written: Written) -> None:
    """Say if several runs with other versions or on other devices wrote a file."""
    for name, values in (written.changed or {}).items():
        listed = ", ".join(str(value) for value in values)
        notice(f"{written.path} was written by runs that differ in {name}: {listed}. Answers may differ by rounding.")
