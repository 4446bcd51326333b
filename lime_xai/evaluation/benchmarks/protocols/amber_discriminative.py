"""AMBER, the questions that are answered yes or no."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from lime_xai.evaluation.benchmarks.protocol import Item, Protocol, register_protocol
from lime_xai.evaluation.benchmarks.rates import ratio
from lime_xai.evaluation.benchmarks.records import Record, check_count, check_unique, read_records
from lime_xai.evaluation.benchmarks.two_classes import (
    PROMPTS,
    Class,
    first_word,
    measures_of,
    rates_of,
    tally,
    truth_of,
)
from lime_xai.evaluation.bootstrap import Floats

GROUPS = {
    "discriminative-hallucination": "existence",
    "discriminative-attribute-state": "attribute",
    "discriminative-attribute-number": "attribute",
    "discriminative-attribute-action": "attribute",
    "discriminative-relation": "relation",
    "relation": "relation",
}
"""Groups by type of the annotations; relations have two names there."""

GENERATIVE = "generative"
"""Type of the questions that are answered with a description; they are no part of this benchmark."""

_ANNOTATIONS = 15220
_QUESTIONS = {"all": 15220, "discriminative": 14216, "attribute": 7628, "existence": 4924, "relation": 1664}
_ADDED = {"existence": 0.001, "other": 0.0001}


@register_protocol
class AmberDiscriminative(Protocol):
    """AMBER, discriminative (Wang et al. 2023): yes or no, about existence, attributes and relations.

    The positive class is "No": precision is the share of right answers among the answers "No", recall the share of
    those among the questions whose answer is no. All questions about existence have the answer no. As in
    ``inference.py`` of AMBER, F1 = 2 P R / (P + R + 0.0001), with 0.001 in place of 0.0001 where all questions are
    about existence. That script rounds P and R to 0.1 % before; here nothing is rounded.

    Files are ``data/query/query_discriminative.json`` (or its parts ``-existence``, ``-attribute`` and ``-relation``,
    or ``query_all.json``, whose 1,004 questions for a description are left out) and ``data/annotations.json``.

    Parsers:

    - ``official``: the answer must be "Yes" or "No", to the letter. "no", "No." and " No" are neither, and wrong. AMBER
      leaves it to the user to bring answers into this form.
    - ``first-word``: the first word, upper or lower case. No rule of AMBER's.
    """

    name = "amber-discriminative"
    source = "Wang et al., AMBER: An LLM-free Multi-dimensional Benchmark; github.com/junyangwang0410/AMBER"
    files: ClassVar[Mapping[str, str]] = {
        "questions": "query_discriminative.json, or one of its parts",
        "annotations": "annotations.json",
    }
    prompts = PROMPTS
    parsers = ("official", "first-word")
    tokens = 10
    measures = measures_of("no")

    def read(self, files: Mapping[str, Path], media: Path | None = None, *, partial: bool = False) -> list[Item]:
        """Return the questions, those for a description left out."""
        self.check_files(files)
        path = files["questions"]
        records = read_records(path)
        if len(records) not in _QUESTIONS.values():
            check_count(path, len(records), _QUESTIONS["discriminative"], partial)
        annotations = _annotations(files["annotations"], partial)
        check_unique(records, (str(record.take("id", int)) for record in records), "id")
        folder = path.parent if media is None else media
        found = [_item(record, annotations, folder) for record in records]
        return [item for item in found if item is not None]

    def count(self, item: Item, answer: str, parser: str) -> Mapping[str, float]:
        """Return what an answer adds to the sums."""
        said: Class | None
        if parser == "official":
            said = "yes" if answer == "Yes" else "no" if answer == "No" else None
        else:
            said = first_word(answer)
        return {**tally("no", truth_of(item), said), "existence": float(item.group == "existence")}

    def values(self, sums: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """Return the measures from sums of counts."""
        precision, recall = ratio(sums["hits"], sums["claimed"]), ratio(sums["hits"], sums["asked"])
        added = np.where(sums["existence"] == sums["items"], _ADDED["existence"], _ADDED["other"])
        return {**rates_of(sums), "f1": 2 * precision * recall / (precision + recall + added)}


def _annotations(path: Path, partial: bool) -> dict[int, Record]:
    records = read_records(path)
    check_count(path, len(records), _ANNOTATIONS, partial)
    numbers = [record.take("id", int) for record in records]
    check_unique(records, map(str, numbers), "id")
    return dict(zip(numbers, records, strict=True))


def _item(record: Record, annotations: Mapping[int, Record], folder: Path) -> Item | None:
    number, image = record.take("id", int), record.take("image", str)
    if number not in annotations:
        raise record.wrong(f"the annotations have no id {number}; do both files belong together?")
    annotation = annotations[number]
    kind = annotation.take("type", str)
    if kind == GENERATIVE:
        return None
    if kind not in GROUPS:
        raise annotation.wrong(f"type is {kind!r}; expected {', '.join((GENERATIVE, *GROUPS))}")
    return Item(
        id=str(number),
        question=record.take("query", str),
        images=(folder / image,),
        group=GROUPS[kind],
        truth={"label": annotation.take("truth", Literal["yes", "no"])},
        unit=image,
        place=record.place,
    )
