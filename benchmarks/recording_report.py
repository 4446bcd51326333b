"""The table of the recordings' measurement: ``python benchmarks/recording_report.py``.

Reads ``benchmarks/results/recordings_NAME.json``, which ``python -m benchmarks.recordings measure`` wrote, puts one
table for each model between the marks of the page of recordings, and prints it. Nothing is measured.
"""

from __future__ import annotations

import argparse
import json

from benchmarks.pages import DOCS, RESULTS, Report, put, table
from benchmarks.recordings.assemble import FROZEN
from lime_xai.evaluation.bootstrap import bounded

PAGE = DOCS / "explanation" / "recordings.md"
BEGIN = "recordings_"


def rows(report: Report) -> str:
    """Return a table of measures, one column per policy; under a policy its change against the plain model."""
    found = report["summary"]
    policies = list(found)
    lines = []
    for measure in found[policies[0]]:
        lines.append((measure, *(bounded(*found[policy][measure]) for policy in policies)))
        changes = [found[policy].get(f"change of {measure}") for policy in policies]
        lines.append((f"its change, {measure}", *("" if one is None else bounded(*one) for one in changes)))
    return table(("", *(f"`{policy}`" for policy in policies)), lines)


def main() -> None:
    """Write and print the tables."""
    parts = []
    for path in sorted(RESULTS.glob(f"{BEGIN}*.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        name, found = path.stem.removeprefix(BEGIN), report["about"]["weights"]
        if FROZEN.get(name, found) != found:
            raise ValueError(
                f"{path.name} was measured with weights of SHA-256 {found}, and {name} has {FROZEN[name]}; "
                "measure it again"
            )
        clips = sum(len(next(iter(block.values()))["captions"]) for block in report["blocks"])
        parts.append(f"{name}, {clips} clips.\n\n{rows(report)}")
    if not parts:
        raise SystemExit(f"{RESULTS} holds no {BEGIN}*.json; python -m benchmarks.recordings measure writes one")
    made = "\n\n".join(parts)
    print(made)
    PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), "recordings", made, PAGE), encoding="utf-8")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
