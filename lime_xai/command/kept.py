"""Explained answers kept in a folder while a long run goes on, so that an interrupted run can go on from them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lime_xai.report.answer import ExplainedAnswer
from lime_xai.storage.store import check_identity, read_json, write_json

IDENTITY = "run.json"
"""Name of the file that says what the answers of a folder were made with."""


class KeptAnswers:
    """The explained answers of one run, a file per picture.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    identity : mapping
        What decides the answers besides the picture: weights, prompt, policies, settings. JSON-ready.

    Raises
    ------
    ValueError
        If the folder holds answers that were made with other settings.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        path = folder / IDENTITY
        if path.exists():
            held = read_json(path, "the settings of explained answers", dict[str, Any])
            check_identity(path, "answers", held, identity)
        else:
            write_json(path, dict(identity))

    def get(self, picture: Path, make: Callable[[], ExplainedAnswer]) -> ExplainedAnswer:
        """Return the answer about a picture: the kept one, or a new one, which is kept.

        Parameters
        ----------
        picture : Path
            Its file; the content is what counts, not the name.
        make : callable
            Explains the picture.

        Raises
        ------
        ValueError
            If the file of a kept answer is damaged.
        """
        digest = hashlib.sha256(picture.read_bytes()).hexdigest()
        path = self._folder / f"{digest[:32]}.safetensors"
        if path.exists():
            return ExplainedAnswer.load(path)
        found = make()
        found.save(path)
        return found
