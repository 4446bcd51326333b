"""Draw what ``steering.py`` measured, and renew the tables of ``RESULTS.md``.

``python benchmarks/steering_plot.py CSV [CSV ...] --out FILE``; a table of ``RESULTS.md`` stands between
``<!-- table: NAME.csv -->`` and ``<!-- /table -->``.
"""

from __future__ import annotations

import argparse
import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

REQUESTED = {
    "constant gains": 1.02,
    "contrast, slot": 1.25,
    "reweight, direct": 1.25,
    "reweight, full": 1.6,
    "gain, 1 step": 4.0,
    "gain, 2 steps": 7.0,
    "free, cache, 7 steps": 35.0,
}
"""Ratios to a plain token that were requested."""


def rows_of(path: Path) -> tuple[str, list[dict[str, str]]]:
    """Return what a CSV file says about itself, and its rows but the plain one."""
    with path.open(encoding="utf-8") as file:
        about = file.readline().lstrip("# ").strip()
        return about, [row for row in csv.DictReader(file) if row["name"] != "plain"]


def figure_of(paths: Sequence[Path]) -> Figure:
    """Return a panel per file: median ratios with quartiles on a logarithmic axis, requested ratios as ticks."""
    found = [rows_of(path) for path in paths]
    heights = [max(2, len(rows)) for _, rows in found]
    figure = Figure(figsize=(7.5, 0.34 * sum(heights) + 1.1 * len(found)), layout="constrained")
    panels = figure.subplots(len(found), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    for axes, (about, rows) in zip(panels, found, strict=True):
        for place, row in enumerate(rows):
            middle, low, high = (float(row[name]) for name in ("median", "low", "high"))
            axes.errorbar(middle, place, xerr=[[middle - low], [high - middle]], fmt="o", color="#2166ac", capsize=3)
            if row["name"] in REQUESTED:
                axes.plot(REQUESTED[row["name"]], place, marker="|", markersize=16, color="#b2182b")
            axes.annotate(
                f"{middle:.3g}" if middle < 1000 else f"{middle:.0f}",
                (high, place),
                textcoords="offset points",
                xytext=(6, -3),
                fontsize=8,
            )
        axes.set_yticks(range(len(rows)), [row["name"] for row in rows], fontsize=9)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xscale("log")
        axes.margins(x=0.08)
        axes.axvline(1, color="black", linewidth=0.6)
        axes.grid(axis="x", alpha=0.3)
        axes.set_title(about, fontsize=9)
    panels[-1].set_xlabel("time per token over a plain token's, median and quartiles; red: requested ratio")
    return figure


def table_of(path: Path) -> str:
    """Return a file as a Markdown table, with requested ratios."""
    about, rows = rows_of(path)
    lines = ["| | ratio to a plain token | requested | first token | peak memory | rounds |", f"| --- |{' ---: |' * 5}"]
    for row in rows:
        middle, low, high, first, peak = (float(row[name]) for name in ("median", "low", "high", "first", "peak"))
        precision = 2 if middle < 10 else 1 if middle < 100 else 0
        ratio = f"{middle:.{precision}f} [{low:.{precision}f}, {high:.{precision}f}]"
        requested = f"{REQUESTED[row['name']]:g}" if row["name"] in REQUESTED else ""
        held = "" if math.isnan(peak) else f"{peak:.2f}"
        lines.append(f"| {row['name']} | {ratio} | {requested} | {first:.2f} | {held} | {row['rounds']} |")
    return "\n".join([f"{about}:", "", *lines])


def renew(page: Path) -> None:
    """Renew the tables of a page from the files that they name."""

    def table(found: re.Match[str]) -> str:
        return f"{found[1]}\n{table_of(page.parent / 'results' / found[2])}\n{found[3]}"

    text = page.read_text(encoding="utf-8")
    page.write_text(re.sub(r"(<!-- table: (\S+) -->).*?(<!-- /table -->)", table, text, flags=re.S), encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    """Read files, write the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "steering.png")
    arguments = parser.parse_args(argv)
    figure_of(arguments.files).savefig(arguments.out, dpi=150)
    renew(Path(__file__).parent / "RESULTS.md")
    print(arguments.out)


if __name__ == "__main__":
    main()
