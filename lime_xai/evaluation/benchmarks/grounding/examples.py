"""A question whose place is known."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lime_xai.evaluation.benchmarks.asking import file_hash

from .regions import Region, TimeRegion


@dataclass(frozen=True)
class GroundingExample:
    """A question about a place of a picture, or about a time of a sound.

    Attributes
    ----------
    id : str
        Its name, once in a list of examples.
    question : str
        As the model is asked.
    medium : Path
        File of the picture or the sound.
    region : MaskRegion, BoxRegion or TimeRegion
        What the question is about; a time means that the medium is a sound.
    answer : str or None
        Whose logit is attributed; None: the first token that the model would choose.
    unit : str
        What is drawn together in the bootstrap; by default examples of one medium.
    place : str
        File and line, for errors.
    """

    id: str
    question: str
    medium: Path
    region: Region
    answer: str | None = None
    unit: str = ""
    place: str = ""

    @property
    def modality(self) -> str:
        """``image`` or ``audio``."""
        return "audio" if isinstance(self.region, TimeRegion) else "image"

    @property
    def cluster(self) -> str:
        """What it is drawn together with."""
        return self.unit or str(self.medium)

    def described(self) -> dict[str, Any]:
        """Return what decides a measurement, for JSON, without the content of files."""
        return {"id": self.id, "question": self.question, "answer": self.answer, "region": self.region.described()}


def check_examples(examples: Sequence[GroundingExample]) -> None:
    """Refuse no examples, two of one name, missing files, and regions that do not fit their pictures.

    Raises
    ------
    ValueError
        Naming file and line.
    FileNotFoundError
        If a picture, a sound or a mask is not there.
    """
    twice = [name for name, count in Counter(example.id for example in examples).items() if count > 1]
    if not examples or twice:
        found = f"two examples are named {twice[0]!r}" if twice else "there are no examples"
        raise ValueError(f"Grounding cannot be measured: {found}.")
    for example in examples:
        place = example.place or example.id
        if not example.medium.is_file():
            raise FileNotFoundError(f"{place}: there is no file {example.medium}.")
        try:
            example.region.check(example.medium)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{place}: {error}") from error
        except ValueError as error:
            raise type(error)(f"{place}: {error}") from error


def examples_hash(examples: Sequence[GroundingExample]) -> str:
    """Return the SHA-256 of examples with the content of their files."""
    hashes: dict[Path, str] = {}
    total = hashlib.sha256()
    for example in examples:
        files = (example.medium, *example.region.files)
        hashes |= {path: file_hash(path) for path in files if path not in hashes}
        total.update(json.dumps([example.described(), [hashes[path] for path in files]]).encode())
    return total.hexdigest()
