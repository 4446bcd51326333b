"""Which models work: the suite of conformance on tiny random models of every family, as JSON and as a page of the docs.

    python -m benchmarks.conformance --write            # all families; both files
    python -m benchmarks.conformance --families llava   # prints, and writes nothing

The families are built from configs by ``tests/support``; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

from lime_xai.evaluation.conformance import Conformance, Outcome, check_conformance
from lime_xai.evaluation.conformance.suite import all_checks
from tests.support.every_family import EVERY_FAMILY, NOT_BUILT, PERCEIVED
from tests.support.families import Family, joined_rows

RECORD = Path(__file__).parent / "results" / "conformance.json"
PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "which-models-work.md"
SIGNS = {"works": "yes", "refused": "no", "failed": "**fails**"}

Record = dict[str, dict[str, dict[str, str]]]
"""Status and reason by family and feature."""

INTRODUCTION = """# Which models work

<!-- Written by `python -m benchmarks.conformance --write`; do not edit. -->

{families} tiny models with random weights were built by transformers {version}, some classes once per modality. Every
feature was tried on one prompt and compared with an oracle that does not use this package.

- **yes**: it works.
- **no** and a number: this package refuses it by an error whose text is below, or the feature does not apply.
- **fails** and a number: a known fault.

`lime-xai conformance MODEL` makes the same table for a checkpoint of your own.

Random weights say that a computation is right for a family. They do not say that steering helps a trained model.

Of {cells} cells, {works} work, {refused} are refused, {failed} fail.

| feature | what is compared | works | refused | fails |
| --- | --- | --- | --- | --- |
{features}

## Families

{table}

## Reasons

{reasons}

## Not built

{not_built}
"""


def conformance_of(family: Family, features: Iterable[str] | None = None) -> Conformance:
    """Build a family and run the checks on it.

    Parameters
    ----------
    family : Family
        Of ``EVERY_FAMILY``.
    features : iterable of str, optional
        Only these.
    """
    model, inputs, _ = family.build()
    joined, rows = joined_rows(family, model, 2)
    perceptual = PERCEIVED if family.modality == "text" else None
    names = None if features is None else list(features)
    return check_conformance(model, inputs, rows=rows, batch=joined, perceptual=perceptual, features=names)


def recorded(outcome: Outcome) -> dict[str, str]:
    """Return an outcome for JSON, without what differs from run to run: addresses and sizes of differences."""
    reason = re.sub(r"0x[0-9a-f]+", "0x...", outcome.reason)
    reason = re.sub(r"\b\d\.?\d*e[-+]\d+", "...", reason)
    return {"status": outcome.status, "reason": reason[:300]}


def page(record: Record, version: str) -> str:
    """Return the page of the docs."""
    features = list(next(iter(record.values())))
    found = [cell["status"] for row in record.values() for cell in row.values()]
    reasons: dict[str, int] = {}
    rows = []
    for family, row in record.items():
        cells = []
        for feature in features:
            cell = row[feature]
            number = reasons.setdefault(cell["reason"], len(reasons) + 1) if cell["reason"] else ""
            cells.append(f"{SIGNS[cell['status']]} {number}".strip())
        rows.append([f"`{family}`", *cells])
    return INTRODUCTION.format(
        families=len(record),
        version=version,
        cells=len(found),
        **{status: found.count(status) for status in SIGNS},
        features="\n".join(_feature_rows(record, features)),
        table=_markdown(["family", *features], rows),
        reasons="\n".join(f"{number}. {_literal(reason)}" for reason, number in reasons.items()),
        not_built="\n".join(f"- `{name}`: {reason}" for name, reason in NOT_BUILT.items()),
    )


def _feature_rows(record: Record, features: list[str]) -> Iterable[str]:
    checks = all_checks()
    for feature in features:
        statuses = [row[feature]["status"] for row in record.values()]
        what = " ".join((checks[feature].__doc__ or "").split()).removeprefix("Compare: ")
        yield f"| {feature} | {what} | " + " | ".join(str(statuses.count(status)) for status in SIGNS) + " |"


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _literal(text: str) -> str:
    return f"`{text.replace('`', chr(39))}`"


def read_record() -> Record:
    """Return the recorded outcomes."""
    found: Record = json.loads(RECORD.read_text())["families"]
    return found


def recorded_version() -> str:
    """Return the version of transformers that the outcomes were recorded with."""
    return str(json.loads(RECORD.read_text())["transformers"])


def write(record: Record) -> None:
    """Write the record and the page of the docs."""
    families = {name: record[name] for name in EVERY_FAMILY}
    data = {"transformers": transformers.__version__, "families": families}
    RECORD.write_text(json.dumps(data, indent=1) + "\n")
    PAGE.write_text(page(families, transformers.__version__))


def main() -> None:
    """Run the suite."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", help="names, separated by commas; by default all")
    parser.add_argument("--write", action="store_true", help=f"write {RECORD.name} and {PAGE.name}")
    parser.add_argument("--page", action="store_true", help="only write the page anew from the recorded outcomes")
    options = parser.parse_args()
    if options.page:
        PAGE.write_text(page(read_record(), recorded_version()))
        return
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    names = options.families.split(",") if options.families else list(EVERY_FAMILY)
    record: Record = read_record() if options.write and options.families else {}
    for name in names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = conformance_of(EVERY_FAMILY[name])
        record[name] = {feature: recorded(outcome) for feature, outcome in found.outcomes.items()}
        _say(name, found.counts, found.failed)
    if options.write:
        write(record)


def _say(name: str, counts: Mapping[str, int], failed: Mapping[str, Any]) -> None:
    print(name, dict(counts), flush=True)
    for feature, outcome in failed.items():
        print(f"    {feature}: {outcome.reason}", flush=True)


if __name__ == "__main__":
    main()
