"""The file a comparison is kept in, and goes on from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FORMAT = 1
"""Of the file; another number is another layout."""


def read(path: Path) -> dict[str, Any]:
    """Return what a file of a comparison holds.

    Raises
    ------
    ValueError
        If it is something else, or of another format.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON ({error}); give another file name.") from error
    found = data.get("format") if isinstance(data, dict) and "examples" in data else None
    if found != FORMAT:
        raise ValueError(f"{path} is no comparison of format {FORMAT} (found {found}); give another file name.")
    return dict(data)


def resume(path: Path, header: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the examples that a file already holds; none if there is no file.

    Raises
    ------
    ValueError
        If they were measured with other settings.
    """
    if not path.exists():
        return []
    data = read(path)
    wanted = json.loads(json.dumps(header))
    other = {key: data["header"].get(key) for key in wanted if data["header"].get(key) != wanted[key]}
    if other:
        asked = {key: wanted[key] for key in other}
        raise ValueError(f"{path} holds a comparison with {other}, asked for was {asked}; give another file name.")
    return list(data["examples"])


def write(path: Path, data: Mapping[str, Any]) -> None:
    """Write a file whole: an interruption leaves the old one."""
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(json.dumps({"format": FORMAT, **data}, indent=1) + "\n", encoding="utf-8")
    draft.replace(path)


def number(value: float) -> float | None:
    """Return a number as a JSON value of eight digits; JSON knows neither NaN nor infinity."""
    return float(f"{value:.8g}") if math.isfinite(value) else None
