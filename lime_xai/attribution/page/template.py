"""An HTML page from the template: one file that needs no network."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from lime_xai.attribution.colours import BRIGHTNESS, CONTRAST, NEGATIVE, OPACITY, POSITIVE

COLOURS = {
    "positive": ", ".join(map(str, POSITIVE)),
    "negative": ", ".join(map(str, NEGATIVE)),
    "contrast": CONTRAST,
    "brightness": BRIGHTNESS,
}
"""Of maps and of pictures under them, as the style sheet and the script read them."""


@dataclass(frozen=True)
class Page:
    """What a page shows.

    Attributes
    ----------
    title : str
        Over it.
    entries : sequence of dict
        JSON-ready data: a name, and the sections that are shown together. The page of several entries has a list of
        them.
    method : str
        Name of the attribution method.
    unit : str
        What is chosen to see its map: word or token.
    threshold : float or None
        Grounding in nats below which words are marked at first; None: nothing is known about grounding.
    columns, rows : sequence
        Of the table, if there is one.
    """

    title: str
    entries: Sequence[dict[str, Any]]
    method: str
    unit: str = "word"
    threshold: float | None = None
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def rendered(page: Page) -> str:
    """Return a page as HTML; all text but the script and the styles is escaped."""
    assets = files(__package__) / "assets"
    texts = {name: (assets / name).read_text(encoding="utf-8") for name in ("page.html.j2", "style.css", "script.js")}
    items = [item for entry in page.entries for section in entry["answers"] for item in section["items"]]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(texts["page.html.j2"]).render(
        page=page,
        style=Markup(texts["style.css"]),
        script=Markup(texts["script.js"]),
        data=Markup(script_json({"entries": list(page.entries)})),
        colours=COLOURS,
        opacity=OPACITY,
        choice=any(len(section["words"]) > 1 for entry in page.entries for section in entry["answers"]),
        placed=bool(items),
        pictured=any("source" in view for item in items if item["kind"] != "sound" for view in item["views"]),
        version=version("lime_xai"),
        margins=_margins(page),
    )


def _margins(page: Page) -> list[tuple[str, str]]:
    """Return the two tokens of every margin on a page, each pair once."""
    words = [word for entry in page.entries for section in entry["answers"] for word in section["words"]]
    return list(dict.fromkeys((word["text"], word["against"]) for word in words if "against" in word))


def embedded(page: str, title: str, height: int = 900) -> str:
    """Return a page as an element of another page, a notebook for example; its styles and scripts stay inside."""
    return (
        f'<iframe srcdoc="{html.escape(page, quote=True)}" style="width:100%;height:{height}px;border:0" '
        f'sandbox="allow-scripts" title="{html.escape(title, quote=True)}"></iframe>'
    )


def script_json(data: Any) -> str:
    """Return data as JSON that may stand in a script element: no tag or comment can begin in it."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
