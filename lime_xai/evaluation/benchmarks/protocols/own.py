"""Questions of a user's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from lime_xai.evaluation.benchmarks.protocol import Item, Protocol, register_protocol
from lime_xai.evaluation.benchmarks.rates import ratio
from lime_xai.evaluation.benchmarks.records import Record, check_unique, read_records
from lime_xai.evaluation.benchmarks.two_classes import PROMPTS, Class, first_words, measures_of, rates_of, tally
from lime_xai.evaluation.bootstrap import Floats

ALL = "all"
"""Group of a question that names none."""


@register_protocol
class Own(Protocol):
    """Questions of your own, about images or sounds of your own, with answers that are known.

    The file holds JSON lines (or one JSON array), one question each::

        {"image": "dog.jpg", "question": "Is there a cat?", "answer": "no"}
        {"id": "bark", "audio": "dog.wav", "question": "Which animal barks?", "answer": "a dog", "group": "sounds"}

    ``question`` : text.
    ``answer`` : text, "yes" and "no" included.
    ``image``, ``audio`` : one path or a list of paths, relative to the folder; at least one of both keys.
    ``id`` : text or whole number, each once; by default the number of the record, from 1.
    ``group`` : text; groups are measured apart. By default all questions are in one.

    Other keys are not looked at. Questions about the same files are drawn together in the bootstrap.

    Parsers; upper and lower case are the same:

    - ``exact``: the answer must be the text of ``answer``, apart from spaces around it.
    - ``first-word``: as many of the first words are compared as ``answer`` has. Words are of letters, digits and
      apostrophes between them: "No, there is none." is right where ``answer`` is "no".

    Precision, recall, F1 (of "yes"), the share of yes and ``unparsed`` are those of the questions whose ``answer`` is
    yes or no; they are NaN without such questions.
    """

    name = "own"
    source = "a file of your own"
    files: ClassVar[Mapping[str, str]] = {"questions": "questions, answers and paths, JSON lines or an array"}
    prompts = PROMPTS
    parsers = ("exact", "first-word")
    tokens = 64
    measures = measures_of("yes")

    def read(self, files: Mapping[str, Path], media: Path | None = None, *, partial: bool = False) -> list[Item]:
        """Return the questions."""
        self.check_files(files)
        path = files["questions"]
        records = read_records(path)
        folder = path.parent if media is None else media
        items = [_item(record, number, folder) for number, record in enumerate(records, start=1)]
        check_unique(records, (item.id for item in items), "id")
        return items

    def count(self, item: Item, answer: str, parser: str) -> Mapping[str, float]:
        """Return what an answer adds to the sums."""
        truth = item.truth["answer"]
        count = len(first_words(truth)) if parser == "first-word" else 0
        expected, said = _read(truth, count), _read(answer, count)
        if (label := _class(_read(truth, 0))) is not None:
            return tally("yes", label, _class(said))
        return {**dict.fromkeys(tally("yes", "yes", None), 0.0), "right": float(said == expected)}

    def values(self, sums: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """Return the measures from sums of counts."""
        return {
            **rates_of(sums),
            "accuracy": ratio(sums["right"], sums["items"]),
            "unparsed": ratio(sums["unparsed"], sums["counted"]),
        }


def _read(text: str, words: int) -> str:
    """Return the first words of a text, or all of it if that number is 0."""
    return " ".join(first_words(text, words)) if words else text.strip().lower()


def _class(text: str) -> Class | None:
    return "yes" if text == "yes" else "no" if text == "no" else None


def _item(record: Record, number: int, folder: Path) -> Item:
    images, sounds = _paths(record, "image"), _paths(record, "audio")
    if not images and not sounds:
        raise record.wrong("there is neither 'image' nor 'audio'; give one path at least")
    question, answer = record.take("question", str), record.take("answer", str)
    for name, text in (("question", question), ("answer", answer)):
        if not first_words(text):
            raise record.wrong(f"{name} is {text!r}; expected text with a letter or a digit")
    given, group = record.optional("id", int | str), record.optional("group", str)
    return Item(
        id=str(number if given is None else given),
        question=question,
        images=tuple(folder / path for path in images),
        sounds=tuple(folder / path for path in sounds),
        group=ALL if group is None else group,
        truth={"answer": answer},
        unit=" ".join((*images, *sounds)),
        place=record.place,
    )


def _paths(record: Record, name: str) -> list[str]:
    given = record.optional(name, str | list[str])
    return [given] if isinstance(given, str) else given or []
