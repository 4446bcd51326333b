"""Figures for papers: as wide as a column, everything placed in inches, fonts embedded, numbers beside the picture."""

from __future__ import annotations

import io
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from lime_xai.printing import visible
from lime_xai.storage.store import replacing, write_text

from .colours import NEGATIVE, OPACITY, POSITIVE

if TYPE_CHECKING:
    import pandas

Columns = Literal[1, 2]
"""Of a page, that a figure is as wide as."""

WIDTHS = {1: 3.3, 2: 6.9}
"""Inches."""

SMALL, NORMAL, LARGE = 6.0, 7.0, 8.0
"""Points: notes and ticks, labels, titles."""

LINE = 1.35 / 72
"""Inches per point of a line of text."""

DPI = 200
"""Of PNG files and of what a notebook shows."""

_EMBEDDED = {"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "path"}
"""TrueType in PDF, which journals ask for; outlines in SVG, which look the same everywhere."""

_FALLBACKS = (
    "DejaVu Sans",
    "Noto Sans",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans Hebrew",
    "Noto Sans Arabic",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "Noto Emoji",
    "Symbola",
    "Arial Unicode MS",
    "Hiragino Sans",
    "Yu Gothic",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Segoe UI",
    "Segoe UI Emoji",
)
"""Fonts that are tried for each character, of those that are installed."""


def _map_colours() -> LinearSegmentedColormap:
    """Return the colours of a map: opacity linear in the absolute relevance, zero is transparent."""
    negative, positive = (tuple(side / 255 for side in colour) for colour in (NEGATIVE, POSITIVE))
    stops = [
        (0.0, (*negative, OPACITY)),
        (0.5, (*negative, 0.0)),
        (0.5, (*positive, 0.0)),
        (1.0, (*positive, OPACITY)),
    ]
    return LinearSegmentedColormap.from_list("relevance", stops, N=1023)


OVERLAY = _map_colours()


class ShownFigure(Figure):
    """A figure that a notebook shows as the last line of a cell, and that is saved with the numbers behind it.

    Attributes
    ----------
    numbers : list of dict
        One entry per number that is drawn.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.numbers: list[dict[str, Any]] = []

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()

    def savefig(self, fname: Any, **kwargs: Any) -> None:
        """Write the figure as matplotlib does, with embedded fonts and, unless asked otherwise, 200 dots per inch."""
        with rc_context(_EMBEDDED):  # type: ignore[arg-type]
            super().savefig(fname, **{"dpi": DPI, **kwargs})

    def to_frame(self) -> pandas.DataFrame:
        """Return the numbers behind the figure as a table."""
        import pandas

        return pandas.DataFrame(self.numbers)

    def save(self, path: str | Path, **kwargs: Any) -> None:
        """Write the figure, and the numbers behind it as CSV beside it.

        Parameters
        ----------
        path : str or Path
            ``.pdf``, ``.svg`` and ``.png`` say the format; the numbers are ``.csv`` with the same name.
        **kwargs
            As in ``savefig``.

        Raises
        ------
        ValueError
            For another format, and for a folder that is not there; nothing is written then.
        """
        path = Path(path)
        known = self.canvas.get_supported_filetypes()
        kind = kwargs.pop("format", path.suffix[1:].lower())
        if kind not in known or path.suffix.lower() == ".csv":
            raise ValueError(f"{path.name} names no format of figures; expected one of {', '.join(sorted(known))}.")
        with replacing(path) as draft:
            self.savefig(draft, format=kind, **kwargs)
        write_text(path.with_suffix(".csv"), self.to_frame().to_csv(index=False))


@dataclass(eq=False)
class Sheet:
    """A figure whose parts are placed in inches from its upper left corner; ``finished`` gives it its height.

    Attributes
    ----------
    columns : int
        Of a page: 1 or 2.
    """

    columns: Columns = 2
    figure: ShownFigure = field(init=False)
    _placed: list[tuple[Any, tuple[float, ...]]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        if self.columns not in WIDTHS or isinstance(self.columns, bool):
            raise ValueError(f"columns is {self.columns!r}; a figure is as wide as 1 or 2 columns of a page.")
        self.figure = ShownFigure(figsize=(self.width, 1.0))

    @property
    def width(self) -> float:
        """Inches."""
        return WIDTHS[self.columns]

    def axes(self, left: float, top: float, width: float, height: float, **settings: Any) -> Axes:
        """Return new axes at a place."""
        with rc_context(_styles()):
            made: Axes = self.figure.add_axes((0.0, 0.0, 1.0, 1.0), label=str(len(self._placed)), **settings)
        made.tick_params(labelsize=SMALL, length=2, width=0.5, pad=1.5)
        for spine in made.spines.values():
            spine.set_linewidth(0.5)
        self._placed.append((made, (left, top, width, height)))
        return made

    def text(self, left: float, top: float, text: str, size: float = NORMAL, **settings: Any) -> float:
        """Write lines that begin at a place, and return where they end."""
        lines = text.split("\n")
        for number, line in enumerate(lines):
            where = top + number * size * LINE
            made = self.figure.text(0, 0, line, fontsize=size, va="top", parse_math=False, family=fonts(), **settings)
            self._placed.append((made, (left, where)))
        return top + len(lines) * size * LINE

    def wrapped(self, left: float, top: float, text: str, width: float, size: float = NORMAL, **settings: Any) -> float:
        """Write text that is broken at a width, and return where it ends."""
        return self.text(left, top, wrapped(text, width, size), size, **settings)

    def finished(self, height: float, numbers: Sequence[Mapping[str, Any]] = ()) -> ShownFigure:
        """Return the figure with a height in inches and the numbers behind it."""
        self.figure.set_size_inches(self.width, height)
        for made, place in self._placed:
            if len(place) == 2:
                made.set_position((place[0] / self.width, 1 - place[1] / height))
            else:
                left, top, width, tall = place
                made.set_position((left / self.width, 1 - (top + tall) / height, width / self.width, tall / height))
        self.figure.numbers = [dict(entry) for entry in numbers]
        return self.figure

    def colour_bar(self, left: float, top: float, width: float, limit: float, label: str) -> float:
        """Draw the scale of maps, and return where it ends."""
        axes = self.axes(left, top, width, 0.08)
        mapped = ScalarMappable(Normalize(-limit, limit), OVERLAY)
        bar = self.figure.colorbar(mapped, cax=axes, orientation="horizontal", ticks=[-limit, 0, limit])
        bar.ax.set_xticklabels([signed(-limit), "0", signed(limit)], fontsize=SMALL, family=fonts())
        first, _, last = bar.ax.get_xticklabels()
        first.set_horizontalalignment("left")
        last.set_horizontalalignment("right")
        bar.outline.set_linewidth(0.5)
        label_axes(axes, x=label)
        return top + 0.08 + 2.4 * SMALL * LINE + 0.04


def label_axes(axes: Axes, x: str | None = None, y: str | None = None) -> None:
    """Label axes with text that is not read as a formula."""
    if x is not None:
        axes.set_xlabel(x, fontsize=SMALL, labelpad=1.5, parse_math=False, family=fonts())
    if y is not None:
        axes.set_ylabel(y, fontsize=SMALL, labelpad=2, parse_math=False, family=fonts())


def fonts() -> list[str]:
    """Return the names of the fonts that are tried for each character."""
    installed = set(fontManager.get_font_names())
    return [name for name in _FALLBACKS if name in installed] or ["sans-serif"]


def _styles() -> dict[Any, Any]:
    return {"axes.linewidth": 0.5, "font.family": fonts(), "font.size": NORMAL}


def signed(value: float) -> str:
    """Return a number with its sign: two decimals, or two digits where these would be zeros."""
    if value == 0:
        return "0"
    return f"{value:+.2f}" if abs(value) >= 0.01 else f"{value:+.1e}"


def text_width(text: str, size: float) -> float:
    """Return about how many inches a text is wide: East Asian characters are as wide as high."""
    units = 0.0
    for letter in text:
        if unicodedata.east_asian_width(letter) in "WF":
            units += 1.0
        elif letter in " iljtfI.,:;'|!()[]":
            units += 0.36
        elif letter in "mwMW%@+":
            units += 0.9
        else:
            units += 0.63
    return units * size / 72


def wrapped(text: str, width: float, size: float) -> str:
    """Return text in lines that fit a width in inches."""
    widest = 1.02 * text_width(text, size) / max(len(text), 1)
    letters = max(8, int(width / max(widest, 0.5 * size / 72)))
    lines = [line for part in visible(text).split("\n") for line in textwrap.wrap(part, letters) or [""]]
    return "\n".join(lines)
