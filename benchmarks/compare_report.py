"""Tables and picture of the comparison of attributions: ``python benchmarks/compare_report.py``.

Reads ``benchmarks/results/compare_*.json`` (from ``lime-xai compare --json``); writes Markdown and CSV beside them and
the picture in ``docs/_static``; ``compare_sound.md`` of the sound world apart. Nothing is measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
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

SOUND_TABLES = (
    ("Localisation", "sound", ("pointing", "mass", "rank")),
    ("Change of localisation against `attnlrp`, paired", "sound", ("pointing", "mass", "rank")),
    ("Insertion and deletion with silence, and with the mean", "sound",
     ("delta_a", "delta_a@mean", "deletion", "insertion")),
    ("Change of faithfulness against `attnlrp`, paired", "sound", ("delta_a", "delta_a@mean")),
    ("Shares and cost", "sound", ("perceptual_share", "passes")),
)  # fmt: skip


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


def described(found: Comparison, media: str) -> str:
    """Return what was measured, as a sentence; ``media`` is the word for clusters."""
    count = len(set(found.clusters))
    return f"{len(found.clusters)} questions about {count} {media}; 95 % bootstrap intervals over {media}."


def sections(reports: Mapping[str, Comparison], tables: Sequence[tuple[str, str, Sequence[str]]], media: str) -> str:
    """Return a section with a table for each title, of a report and its columns, and one on kinds of replacement."""
    parts = []
    for title, of, columns in tables:
        found = reports[of]
        parts.append(f"## {title}\n\n{described(found, media)}\n\n{table(found, columns, changes='Change' in title)}\n")
    found = reports[tables[0][1]]
    about = f"{described(found, media)} Kinds agree if they order the methods alike."
    parts.append(f"## Whether kinds of replacement agree\n\n{about}\n\n{agreement(found)}\n")
    return "\n".join(parts)


def main() -> None:
    """Write the page and the picture."""
    names = {of for _, of, _ in (*TABLES, *SOUND_TABLES)}
    reports = {name: Comparison.from_json(RESULTS / f"compare_{name}.json") for name in names}
    (RESULTS / "compare.md").write_text(sections(reports, TABLES, "scenes"), encoding="utf-8")
    (RESULTS / "compare_sound.md").write_text(sections(reports, SOUND_TABLES, "clips"), encoding="utf-8")
    reports["sound"].to_csv(RESULTS / "compare_sound.csv")
    reports["bundled"].to_csv(RESULTS / "compare_bundled.csv")
    reports["bundled"].plot().savefig(STATIC / "compare.png", dpi=130)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
