"""Write the list of benchmarks into ``docs/reference/benchmarks.md``: ``python docs/benchmark_table.py``."""

from __future__ import annotations

from pathlib import Path

from lime_xai.evaluation.benchmarks.protocol import PROTOCOLS, Protocol, protocol_of

PAGE = Path(__file__).parent / "reference" / "benchmarks.md"
START, END = "<!-- list, written by docs/benchmark_table.py -->", "<!-- end of list -->"


def section(protocol: Protocol) -> str:
    """Return where a benchmark is from, and a table of what the command line takes for it and what is measured."""
    rows = [("`--file`", f"`{name}`", what) for name, what in protocol.files.items()]
    rows += [("`--style`", f"`{name}`", f"`{text!r}`") for name, text in protocol.prompts.items()]
    rows += [("`--parser`", f"`{name}`", "") for name in protocol.parsers]
    rows += [("measure", f"`{name}`", measure.meaning) for name, measure in protocol.measures.items()]
    limit = f"From {protocol.source}. `--max-new-tokens` is {protocol.tokens} by default."
    return "\n".join([limit, "", "| | name | is |", "| --- | --- | --- |", *(f"| {' | '.join(row)} |" for row in rows)])


def sections() -> str:
    """Return a section for each benchmark; those that differ in nothing that is shown have one together."""
    names: dict[str, list[str]] = {}
    for name in sorted(PROTOCOLS):
        names.setdefault(section(protocol_of(name)), []).append(f"`{name}`")
    return "\n\n".join(f"## {', '.join(found)}\n\n{text}" for text, found in names.items())


def written(page: str) -> str:
    """Return a page with the list between its marks."""
    head, rest = page.split(START)
    return f"{head}{START}\n\n{sections()}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
