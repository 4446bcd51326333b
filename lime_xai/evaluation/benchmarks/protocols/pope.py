"""POPE on three datasets, and RePOPE: yes or no, whether an object is in the image."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from lime_xai.evaluation.benchmarks.protocol import Item, Protocol, register_protocol
from lime_xai.evaluation.benchmarks.records import Record, check_count, check_unique, read_records
from lime_xai.evaluation.benchmarks.two_classes import (
    PROMPTS,
    SPLITS,
    Class,
    check_splits,
    measures_of,
    rates_of,
    tally,
    truth_of,
)
from lime_xai.evaluation.bootstrap import Floats
from lime_xai.storage.store import DamagedFileError

QUESTIONS = 3000
"""Of each split of POPE: six about each of 500 images."""

_OLD_RANDOM = 2910
"""Of the random split that LLaVA's evaluation downloads, an earlier release of POPE's."""


class Pope(Protocol):
    """POPE (Li et al. 2023): yes or no, whether an object is in the image.

    The positive class is "yes". Each split is measured apart, and the average is the plain mean of the splits.

    Parsers, each with the oddities of its script:

    - ``official``: ``evaluate.py`` of POPE. The text up to the first full stop, without commas, split at spaces; "No",
      "not" or "no" among the words is a no. All else is a yes: an empty answer, "NO", "No!", and a "no" after a line
      break.
    - ``vcd``: ``eval_pope.py`` of VCD, in lower case. A question whose answer is yes is answered rightly if "yes" is
      a part of the answer; one whose answer is no, if "no" is a part of it ("not" and "know" count). A wrong answer to
      the latter counts as a yes, and a wrong answer to the former as a no.
    - ``lmms-eval``: the answer, in lower case and without spaces around, must be "yes" or "no". "Yes." is neither: it
      is wrong, but in the denominator of neither precision nor recall. lmms-eval's own "yes ratio" counts labels
      instead of answers; here it is the share of answers "yes".

    An answer is at most 10 tokens long, as in the evaluations of OPERA and PAI.

    Attributes
    ----------
    lengths : mapping of str to int
        Records of each official file.
    image : re.Pattern
        What names of images look like; files of other benchmarks differ.
    """

    source = "Li et al., Evaluating Object Hallucination in Large Vision-Language Models; github.com/RUCAIBox/POPE"
    files: ClassVar[Mapping[str, str]] = {
        split: f"questions of the {split} split, JSON lines or an array" for split in SPLITS
    }
    prompts = PROMPTS
    parsers: ClassVar[Sequence[str]] = ("official", "vcd", "lmms-eval")
    tokens = 10
    measures = measures_of("yes")
    average = "groups"
    lengths: ClassVar[Mapping[str, int]] = dict.fromkeys(SPLITS, QUESTIONS)
    image: ClassVar[re.Pattern[str]]

    def read(self, files: Mapping[str, Path], media: Path | None = None, *, partial: bool = False) -> list[Item]:
        """Return the questions of the three splits; a part of the benchmark may be of fewer splits."""
        splits = check_splits(self, files, partial)
        return [item for split in splits for item in self._split(split, files[split], media, partial)]

    def count(self, item: Item, answer: str, parser: str) -> Mapping[str, float]:
        """Return what an answer adds to the sums."""
        truth = truth_of(item)
        if parser == "official":
            return tally("yes", truth, _official(answer))
        if parser == "vcd":
            return tally("yes", truth, _vcd(answer, truth))
        said = answer.lower().strip()
        found = tally("yes", truth, "yes" if said == "yes" else "no" if said == "no" else None)
        return {**found, "asked": found["asked"] * (1 - found["unparsed"])}

    def values(self, sums: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """Return the measures from sums of counts."""
        return rates_of(sums)

    def _split(self, split: str, path: Path, media: Path | None, partial: bool) -> list[Item]:
        records = read_records(path)
        if split == "random" and len(records) == _OLD_RANDOM:
            raise DamagedFileError(
                f"{path} has {_OLD_RANDOM} records: it is the earlier release of the random split, which LLaVA's "
                f"evaluation uses. Its questions are not the {QUESTIONS} of today (AoiDragon/POPE, issue 17), and "
                "numbers cannot be compared; give output/coco/coco_pope_random.json of github.com/RUCAIBox/POPE."
            )
        check_count(path, len(records), self.lengths[split], partial)
        numbers = [record.take("question_id", int) for record in records]
        check_unique(records, map(str, numbers), "question_id")
        self._check_numbers(records, numbers, whole=not partial)
        _check_spelling(path, records)
        folder = path.parent if media is None else media
        return [self._item(split, record, folder) for record in records]

    def _check_numbers(self, records: Sequence[Record], numbers: Sequence[int], whole: bool) -> None:
        consecutive = whole and len(records) == QUESTIONS
        for place, (record, number) in enumerate(zip(records, numbers, strict=True), start=1):
            if consecutive and number != place:
                raise record.wrong(f"question_id is {number}; expected {place}, as in the official file")
            if not 1 <= number <= QUESTIONS:
                raise record.wrong(f"question_id is {number}; expected 1 to {QUESTIONS}")

    def _item(self, split: str, record: Record, folder: Path) -> Item:
        image = record.take("image", str)
        if not self.image.fullmatch(image):
            raise record.wrong(
                f"image is {image!r}; those of {self.name} match {self.image.pattern}; is it another dataset's file?"
            )
        return Item(
            id=f"{split}-{record.take('question_id', int)}",
            question=record.take("text", str),
            images=(folder / image,),
            group=split,
            truth={"label": record.take("label", Literal["yes", "no"])},
            unit=image,
            place=record.place,
        )


_COCO = re.compile(r"COCO_val2014_\d{12}\.jpg")


@register_protocol
class PopeCoco(Pope):
    """POPE on images of COCO val2014: ``output/coco/coco_pope_*.json``; the rules are those of ``Pope``."""

    name = "pope-coco"
    image = _COCO


@register_protocol
class PopeAokvqa(Pope):
    """POPE on A-OKVQA, images of COCO val2014: ``output/seem/aokvqa/*.json``; the rules are those of ``Pope``.

    VCD's repository has the same questions as JSON lines.
    """

    name = "pope-aokvqa"
    image = _COCO


@register_protocol
class PopeGqa(Pope):
    """POPE on images of GQA: ``output/seem/gqa/*.json``; the rules are those of ``Pope``.

    VCD's repository has the same questions as JSON lines.
    """

    name = "pope-gqa"
    image = re.compile(r"\d+\.jpg")


@register_protocol
class RePope(Pope):
    """RePOPE (Neuhaus and Hein 2025): POPE on COCO with corrected labels, without ambiguous questions.

    The files have the format of POPE's, fewer lines, and POPE's numbers of questions. The parser ``repope`` is
    ``eval_utils.py`` of its repository: "yes" as a part of the answer in lower case is a yes, else "no" as a part of it
    is a no; what is neither is left out of all measures but ``unparsed``. The other parsers are those of ``Pope``
    (``official`` is that of POPE), for numbers beside POPE's.
    """

    name = "repope"
    source = "Neuhaus and Hein, RePOPE: Impact of Annotation Errors on the POPE Benchmark; github.com/YanNeu/RePOPE"
    parsers = ("repope", *Pope.parsers)
    lengths: ClassVar[Mapping[str, int]] = {"random": 2774, "popular": 2727, "adversarial": 2684}
    image = _COCO

    def count(self, item: Item, answer: str, parser: str) -> Mapping[str, float]:
        """Return what an answer adds to the sums."""
        if parser != "repope":
            return super().count(item, answer, parser)
        text = answer.lower()
        found = tally("yes", truth_of(item), "yes" if "yes" in text else "no" if "no" in text else None)
        parsed = 1 - found["unparsed"]
        return {**found, "asked": found["asked"] * parsed, "counted": parsed}


def _official(answer: str) -> Class:
    words = answer.split(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "not", "no"} & set(words) else "yes"


def _vcd(answer: str, truth: Class) -> Class:
    right = truth in answer.lower()
    return "yes" if right == (truth == "yes") else "no"


def _check_spelling(path: Path, records: Sequence[Record]) -> None:
    """Warn of a spelling error that one copy has: it was made when the file was generated again with ``utils.py``."""
    wrong = [record for record in records if "imange" in str(record.data.get("text"))]
    if wrong:
        warnings.warn(
            f"{wrong[0].place}: the question says 'imange', as {len(wrong)} questions of this file do. VCD's copy of "
            "the adversarial split has this error; RUCAIBox/POPE says 'image'. The questions are asked as they are.",
            stacklevel=2,
        )
