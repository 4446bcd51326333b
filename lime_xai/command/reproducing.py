"""What the parts of ``lime-xai reproduce`` share: checks of folder and processes, notes on model and items."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lime_xai.evaluation.benchmarks.paper import PaperModel
from lime_xai.evaluation.benchmarks.shares import Share

from .screen import console, notice

if TYPE_CHECKING:  # matplotlib is slow to import
    from lime_xai.attribution.sheet import ShownFigure


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be made or written.

    Raises
    ------
    ValueError
        If it is a file.
    OSError
        If it cannot be made or written.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out {folder} is a file; give a folder, which may be new.")
    parent = folder if folder.exists() else folder.resolve().parent
    if not parent.is_dir():
        raise FileNotFoundError(f"--out {folder}: there is no folder {parent}; make it first.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise PermissionError(f"--out {folder} may not be written; check the permissions of {parent}.")


def check_alone(what: str, share: Share) -> None:
    """Refuse a process that is one of several.

    Raises
    ------
    ValueError
        Naming how many there are.
    """
    if share.of > 1:
        raise ValueError(
            f"reproduce {what} runs in one process, and this is one of {share.of}; start it without accelerate launch."
        )


def model_notes(name: str, config: Any, paper: PaperModel | None, named: str | None) -> list[str]:
    """Return what the model is, where that is not one of the paper's, and print it.

    Parameters
    ----------
    name : str
        As given.
    config : PreTrainedConfig
        Of the model.
    paper : PaperModel or None
        Which of the paper's it is.
    named : str or None
        The option that says so.
    """
    text = config.get_text_config()
    size = f"{config.model_type}, hidden size {getattr(text, 'hidden_size', None)}"
    layers = f"{getattr(text, 'num_hidden_layers', None)} layers"
    if paper is None:
        return _said([f"model {name} ({size}, {layers}): none of the paper's, so no cells"])
    if named is not None:
        return _said([f"model {name} ({size}, {layers}): taken as the paper's {paper.name} by --paper-model"])
    return []


def item_notes(partial: bool, limit: int | None) -> list[str]:
    """Return which items are asked, where they are not all of the official ones, and print it."""
    notes = ["the files are a part of the official ones (--partial)"] if partial else []
    if limit is not None:
        notes.append(f"the first {limit} items of each group (--limit)")
    return _said(notes)


def list_notes(notes: Iterable[str]) -> None:
    """Print notes below a result, one a line, as they are."""
    for note in notes:
        console.print(f"- {note}", soft_wrap=True, markup=False, highlight=False)


def save_both(figure: ShownFigure, place: Path) -> None:
    """Write a figure as PDF and PNG, with its numbers as CSV; ``place`` has no ending."""
    for kind in (".pdf", ".png"):
        figure.save(place.with_name(f"{place.name}{kind}"))


def _said(notes: list[str]) -> list[str]:
    for note in notes:
        notice(note)
    return notes
