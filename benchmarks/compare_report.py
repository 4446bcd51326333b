"""Tables and picture of the comparison of attributions: ``python benchmarks/compare_report.py``.

Reads ``benchmarks/results/compare_*.json`` (from ``lime-xai compare --json``); writes Markdown and CSV beside them and
the picture in ``docs/_static``. Nothing is measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lime_xai import Comparison
from lime_xai.evaluation.attributions.registry import metric_of

RESULTS = Path(__file__).parent / "results"
STATIC = Path(__file__).parents[1] / "docs" / "_static"
TABLES = (
    ("Faithfulness", "bundled", ("delta_a", "delta_a@blur", "deletion", "insertion")),
    ("Change of faithfulness against `attnlrp`, paired", "bundled", ("delta_a", "delta_a@blur")),
    ("Erasure of the most relevant", "bundled", ("comprehensiveness", "sufficiency")),
    ("Localisation", "bundled", ("pointing", "mass", "rank")),
    ("Change of localisation against `attnlrp`, paired", "bundled", ("pointing", "mass", "rank")),
    ("Shares and cost", "bundled", ("perceptual_share", "residual", "agreement", "passes")),
    ("EAGLE, on fewer questions", "eagle", ("delta_a", "pointing", "mass", "rank", "passes")),
    ("Robustness and modality, on fewer questions", "robustness", ("sensitivity", "randomisation", "mm_shap")),
)


def table(found: Comparison, columns: Sequence[str], changes: bool) -> str:
    """Return a Markdown table; the best mean of each column is bold."""
    titles = [f"{column} {metric_of(column).arrow}".strip() for column in columns]
    lines = [f"| | {' | '.join(titles)} |", f"| --- |{' ---: |' * len(columns)}"]
    rows = found.differences if changes else found.summary
    for method, values in rows.items():
        cells = [str(values[column]) for column in columns]
        if not changes:
            best = [method in found.best(column) for column in columns]
            cells = [f"**{cell}**" if top else cell for cell, top in zip(cells, best, strict=True)]
        lines.append(f"| `{method}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def agreement(found: Comparison) -> str:
    """Return a Markdown table: how far each pair of kinds of replacement orders the methods alike, and the best."""
    lines = ["| | kinds | rank correlation | best |", "| --- | --- | ---: | --- |"]
    for one in found.replacement_agreement:
        best = [", ".join(f"`{method}`" for method in methods) for methods in one.best]
        named = best[0] if best[0] == best[1] else " / ".join(best)
        lines.append(f"| {one.metric} | {' / '.join(one.kinds)} | {one.correlation} | {named} |")
    return "\n".join(lines)


def described(found: Comparison) -> str:
    """Return what was measured, as a sentence."""
    scenes = len(set(found.clusters))
    return f"{len(found.clusters)} questions about {scenes} scenes; 95 % bootstrap intervals over scenes."


def main() -> None:
    """Write the page and the picture."""
    reports = {name: Comparison.from_json(RESULTS / f"compare_{name}.json") for name in {of for _, of, _ in TABLES}}
    parts = []
    for title, of, columns in TABLES:
        found = reports[of]
        parts.append(f"## {title}\n\n{described(found)}\n\n{table(found, columns, changes='Change' in title)}\n")
    found = reports["bundled"]
    about = f"{described(found)} Kinds agree if they order the methods alike."
    parts.append(f"## Whether kinds of replacement agree\n\n{about}\n\n{agreement(found)}\n")
    (RESULTS / "compare.md").write_text("\n".join(parts), encoding="utf-8")
    reports["bundled"].to_csv(RESULTS / "compare_bundled.csv")
    reports["bundled"].plot().savefig(STATIC / "compare.png", dpi=130)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
