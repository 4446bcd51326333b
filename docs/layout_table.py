"""Write the table of layouts into ``docs/reference/layouts.md``: ``python docs/layout_table.py``."""

from __future__ import annotations

import inspect
from pathlib import Path

from lime_xai.model.layouts import LAYOUTS

PAGE = Path(__file__).parent / "reference" / "layouts.md"
START, END = "<!-- table, written by docs/layout_table.py -->", "<!-- end of table -->"


def table() -> str:
    """Return one row per mechanism: its families, and the first paragraph of its function's docstring."""
    families: dict[tuple[str, str], list[str]] = {}
    for (model_type, modality), function in LAYOUTS.items():
        paragraph = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ").replace("``", "`")
        families.setdefault((modality, paragraph), []).append(f"`{model_type}`")
    rows = [
        f"| {modality} | {', '.join(sorted(names))} | {paragraph} |"
        for (modality, paragraph), names in families.items()
    ]
    order = {"image": 0, "video": 1, "audio": 2}
    rows.sort(key=lambda row: order[row.split("|")[1].strip()])
    return "\n".join(["| tokens of | `config.model_type` | layout |", "| --- | --- | --- |", *rows])


def written(page: str) -> str:
    """Return a page with the table between its marks."""
    head, rest = page.split(START)
    return f"{head}{START}\n\n{table()}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
