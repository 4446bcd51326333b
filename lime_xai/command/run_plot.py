"""What ``lime-xai plot`` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from lime_xai.attribution.events import placed_events
from lime_xai.attribution.result import Attribution
from lime_xai.attribution.sheet import ShownFigure
from lime_xai.report.answer import ExplainedAnswer
from lime_xai.report.files import KEY
from lime_xai.storage.store import holds

from .screen import console


def run_plot(
    file: Path,
    out: Path | None,
    html: Path | None,
    kind: str,
    word: str | None,
    columns: Literal[1, 2],
    events: Any = None,
) -> None:
    """Draw a saved attribution or explained answer.

    Parameters
    ----------
    file : Path
        What ``save`` wrote.
    out, html : Path, optional
        Figure and page, checked before.
    kind : str
        Of an explained answer: ``word``, ``words``, ``matrix``, ``before-after``, ``steps``,
        ``relevance-steps`` or ``sound``.
    word : str, optional
        Of an explained answer.
    columns : int
        Width of the figure.
    events : mapping, sequence or None
        What sounds when, for ``sound`` and the page.

    Raises
    ------
    ValueError
        If the file holds something else, or an attribution where an explained answer is needed.
    """
    if holds(file, KEY):
        answer = ExplainedAnswer.load(file)
        placed_events(answer.attribution.layouts[0], events)  # refused here, before a file is written
        if out is not None:
            _write(drawn(answer, kind, word, columns, events), out)
        if html is not None:
            answer.to_html(html, events=events)
            console.print(f"page: {html}", soft_wrap=True)
        return
    attribution = Attribution.load(file)
    if html is not None or kind != "word" or word is not None:
        raise ValueError(
            f"{file} holds an attribution; --html, --kind {kind} and --word need an explained answer, as lime-xai "
            "explain --save writes it."
        )
    if out is not None:
        _write(attribution.plot(columns=columns), out)


def drawn(
    answer: ExplainedAnswer, kind: str, word: str | None, columns: Literal[1, 2], events: Any = None
) -> ShownFigure:
    """Return a figure of an explained answer."""
    kinds: dict[str, Callable[[], ShownFigure]] = {
        "word": lambda: answer.plot(word, columns=columns),
        "words": lambda: answer.plot_words(columns=columns),
        "matrix": lambda: answer.plot_matrix(columns=columns),
        "before-after": lambda: answer.plot_before_after(word, columns=columns),
        "steps": lambda: answer.plot_steps(columns=columns),
        "relevance-steps": lambda: answer.plot_steps("relevance", columns=columns),
        "sound": lambda: answer.plot_sound(word, events=events, columns=columns),
    }
    return kinds[kind]()


def _write(figure: ShownFigure, out: Path) -> None:
    figure.save(out)
    console.print(f"figure: {out}, numbers: {out.with_suffix('.csv')}", soft_wrap=True)
