"""The figure of deletion curves."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib import colormaps
from matplotlib.axes import Axes

from lime_xai.attribution.figure import MARGIN
from lime_xai.attribution.row import readable
from lime_xai.attribution.sheet import LARGE, LINE, SMALL, Columns, Sheet, ShownFigure, label_axes, text_width

from .deletions import ORDERS, DeletionCurves

LINES = {"most": "-", "least": "--", "inserted": ":"}
"""Of each order; methods differ by colour."""

PANELS = (("values", ("most", "least"), "logit or margin"), ("probabilities", ("most", "inserted"), "probability"))
"""What is drawn: field, orders, label of the axis."""

_TALL, _LEFT, _GAP = 1.7, 0.5, 0.12


def deletions_figure(found: DeletionCurves, columns: Columns = 2) -> ShownFigure:
    """Return two panels over the share of groups: the explained value, and the probability of the token.

    Parameters
    ----------
    found : DeletionCurves
        Curves of one token.
    columns : int
        Of a page, 1 or 2. With 1, the panels lie below each other.
    """
    sheet = Sheet(columns)
    inner = sheet.width - 2 * MARGIN
    title = f"What becomes of \u201c{readable(found.target)}\u201d without the most relevant parts of the prompt"
    top = sheet.wrapped(MARGIN, MARGIN, title, inner, LARGE) + 0.06
    top = _legend(sheet, top, {name: ("-", _colour(index)) for index, name in enumerate(found.methods)})
    top = _legend(sheet, top, {ORDERS[order]: (line, "#333333") for order, line in LINES.items()})
    top += 0.06
    beside = columns == 2
    wide = (inner - _GAP) / 2 - _LEFT if beside else inner - _LEFT
    for number, (part, orders, label) in enumerate(PANELS):
        left = MARGIN + _LEFT + (number * (wide + _LEFT + _GAP) if beside else 0)
        axes = sheet.axes(left, top if beside else top + number * (_TALL + 0.4), wide, _TALL)
        for index, method in enumerate(found.methods):
            for order in orders:
                curve = getattr(found, part)[method][order]
                axes.plot(found.shares, curve, LINES[order], color=_colour(index), linewidth=1.0)
        _axis(axes, label)
    bottom = top + _TALL + (0.0 if beside else _TALL + 0.4) + 3.0 * SMALL * LINE
    areas = ", ".join(f"{name} {area:+.2f}" for name, area in found.areas.items())
    caption = (
        f"{len(found.shares) - 1} groups; replacement: {found.replacement}. Area between the dashed and the full curve "
        f"of the left panel (delta_a, higher is better): {areas}."
    )
    if not beside:
        caption = caption.replace("left", "upper")
    bottom = sheet.wrapped(MARGIN, bottom, caption, inner, SMALL, color="#333333")
    numbers = [{str(name): value for name, value in line.items()} for line in found.frame().to_dict("records")]
    return sheet.finished(bottom + MARGIN, numbers)


def _colour(index: int) -> tuple[float, ...]:
    return colormaps["tab10"](index % 10)


def _axis(axes: Axes, label: str) -> None:
    axes.set_xlim(0, 1)
    label_axes(axes, "share of groups removed, or brought back", label)


def _legend(sheet: Sheet, top: float, entries: Mapping[str, tuple[str, str | tuple[float, ...]]]) -> float:
    """Draw lines with their names, as many beside each other as fit, and return where they end."""
    left, high = MARGIN, SMALL * LINE + 0.02
    for name, (style, colour) in entries.items():
        shown = readable(name, 40)
        width = 0.3 + text_width(shown, SMALL) + 0.12
        if left > MARGIN and left + width > sheet.width - MARGIN:
            left, top = MARGIN, top + high
        line = sheet.axes(left, top + 0.01, 0.24, 0.1)
        line.set_axis_off()
        line.plot([0, 1], [0, 0], style, color=colour, linewidth=1.0)
        sheet.text(left + 0.28, top, shown, SMALL)
        left += width
    return top + high
