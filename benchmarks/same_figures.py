"""Compare two reports of ``lime-xai world --json``: ``python benchmarks/same_figures.py OLD NEW``.

Everything but names of settings and the measured cost must be equal.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

SKIPPED = ("cost", "settings")


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Return the places in which two reports differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [key for key in {**old, **new} if key not in SKIPPED]
        return [line for key in keys for line in differences(old.get(key), new.get(key), f"{path}.{key}")]
    return [] if old == new else [f"{path}: {old} and {new}"]


def count(report: Any) -> int:
    """Return the number of values that are compared."""
    if isinstance(report, dict):
        return sum(count(value) for key, value in report.items() if key not in SKIPPED)
    return 1


def main() -> None:
    """Print the differences; status 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    arguments = parser.parse_args()
    old, new = (json.loads(path.read_text(encoding="utf-8")) for path in (arguments.old, arguments.new))
    found = differences(old, new)
    print("\n".join([*found, f"{count(old)} values, {len(found)} differences"]))
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
