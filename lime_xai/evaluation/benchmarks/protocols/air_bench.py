"""AIR-Bench foundation: single choice about speech, sound and music."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from lime_xai.evaluation.benchmarks.protocol import Item, Measure, Protocol, register_protocol
from lime_xai.evaluation.benchmarks.rates import ratio
from lime_xai.evaluation.benchmarks.records import Record, check_unique, read_records
from lime_xai.evaluation.bootstrap import Floats

LETTERS = "ABCD"

TASKS = {
    "speech": (
        "Speech_Grounding",
        "Spoken_Language_Identification",
        "Speaker_Gender_Recognition",
        "Speaker_Emotion_Recontion",
        "Speaker_Age_Prediction",
        "Speech_Entity_Reconition",
        "Speaker_Intent_Classification",
        "Speaker_Number_Verification",
        "Synthesized_Voice_Detection",
    ),
    "sound": (
        "Audio_Grounding",
        "vocal_sound_classification",
        "Acoustic_Scene_Classification",
        "Sound_AQA",
    ),
    "music": (
        "Music_Instruments_Classfication",
        "Music_Genre_Recognition",
        "Music_Midi_Pitch_Analysis",
        "Music_Midi_Velocity_Analysis",
        "Music_AQA",
        "Music_Mood_Recognition",
    ),
}
"""The 19 tasks by group, spelled as in the official file."""

_GROUP = {task: group for group, tasks in TASKS.items() for task in tasks}
_FLAC = "Audio_Grounding"
"""Task whose sounds are FLAC files, though the records name WAV files."""

_LMMS_ENDING = "\nAnswer with the option's letter from the given choices directly."


@register_protocol
class AirBenchFoundation(Protocol):
    """AIR-Bench foundation (Yang et al. 2024): a question about a sound, with two to four options.

    The file is ``Foundation_meta.json``; sounds lie in ``TASK_DATASET/PATH`` of the folder. How many records the file
    has could not be verified, so its length is not checked.

    Prompts: ``lmms-eval`` and ``official`` (``Inference_Foundation.py``) list four options always, "None" in place of
    those that a question does not have; ``present`` is that of lmms-eval with the options that there are.

    Parsers:

    - ``lmms-eval``: characters ``,.!?;:'`` are cut off at both ends, one kind after the other. Then options are looked
      for as "(A)"; if there are none, as "A" between spaces; if there are none, as "A.". Of several, the one whose last
      place between spaces is the latest wins. So the last of several bare letters wins, but of "(A) or (B)", where none
      stands between spaces, the first letter of the alphabet. Options that a question does not have are not looked for.
      **Where nothing is found, lmms-eval chooses at random; here the answer is wrong** and counts as ``unparsed``, so
      that one file of answers has one score. lmms-eval is expected to give higher numbers, by ``unparsed`` divided by
      the number of options.
    - ``official``: ``score_foundation.py``. Line breaks are removed. The first character if it is one of A, B, C and D
      (so "Clearly B" is C), else the last but one ("The answer is B."). Other answers are left out of the accuracy, as
      in that script, and count as ``unparsed``. Before it, AIR-Bench lets GPT choose the option that an answer means;
      that step is not done here.
    """

    name = "air-bench-foundation"
    source = "Yang et al., AIR-Bench, ACL 2024; github.com/OFA-Sys/AIR-Bench"
    files: ClassVar[Mapping[str, str]] = {"questions": "Foundation_meta.json"}
    prompts: ClassVar[Mapping[str, str]] = {
        "lmms-eval": "{question}\nA. {A}\nB. {B}\nC. {C}\nD. {D}\n" + _LMMS_ENDING,
        "official": (
            "Choose the most suitable answer from options A, B, C, and D to respond the question in next line, "
            "you may only choose A or B or C or D.\n{question}\nA. {A}\nB. {B}\nC. {C}\nD. {D}"
        ),
        "present": "{question}\n{options}\n" + _LMMS_ENDING,
    }
    parsers = ("lmms-eval", "official")
    tokens = 256
    measures: ClassVar[Mapping[str, Measure]] = {
        "accuracy": Measure("high", "share of right answers"),
        "unparsed": Measure("low", "share of answers in which no option is found"),
    }

    def read(self, files: Mapping[str, Path], media: Path | None = None, *, partial: bool = False) -> list[Item]:
        """Return the questions."""
        self.check_files(files)
        path = files["questions"]
        records = read_records(path)
        check_unique(records, map(_name, records), "task, dataset and uniq_id")
        return [_item(record, path.parent if media is None else media) for record in records]

    def prompt(self, item: Item, style: str | None = None) -> str:
        """Return the text of a question with its options."""
        template = super().prompt(Item(id=item.id, question="{question}"), style)
        options = item.truth["options"]
        values = {"question": item.question, **{letter: str(options.get(letter)) for letter in LETTERS}}
        values["options"] = "\n".join(f"{letter}. {options[letter]}" for letter in _present(options))
        return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], template)

    def count(self, item: Item, answer: str, parser: str) -> Mapping[str, float]:
        """Return what an answer adds to the sums."""
        lmms = parser == "lmms-eval"
        said = _lmms(answer, _present(item.truth["options"])) if lmms else _official(answer)
        unparsed = said is None
        return {
            "right": float(said == item.truth["letter"]),
            "counted": float(lmms or not unparsed),
            "unparsed": float(unparsed),
        }

    def values(self, sums: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """Return the measures from sums of counts."""
        return {
            "accuracy": ratio(sums["right"], sums["counted"]),
            "unparsed": ratio(sums["unparsed"], sums["items"]),
        }


def _present(options: Mapping[str, str | None]) -> list[str]:
    return [letter for letter in LETTERS if options.get(letter)]


def _lmms(answer: str, letters: Sequence[str]) -> str | None:
    text = answer.strip()
    for character in ",.!?;:'":
        text = text.strip(character)
    text = f" {text} "
    for form in ("({})", " {} ", "{}."):
        found = [letter for letter in letters if form.format(letter) in text]
        if found:
            return max(found, key=lambda letter: text.rfind(f" {letter} "))
    return None


def _official(answer: str) -> str | None:
    text = answer.strip().replace("\n", "")
    if text == "None":
        return None
    return next((letter for letter in (text[:1], text[-2:-1]) if letter and letter in LETTERS), None)


def _name(record: Record) -> str:
    return "-".join(str(record.take(key, int | str)) for key in ("task_name", "dataset_name", "uniq_id"))


def _item(record: Record, media: Path) -> Item:
    task, path = record.take("task_name", str), record.take("path", str)
    if task not in _GROUP:
        raise record.wrong(f"task_name is {task!r}; expected {', '.join(_GROUP)}")
    options = {letter: record.optional(f"choice_{letter.lower()}", str) for letter in LETTERS}
    missing = [letter for letter in "AB" if not options[letter]]
    if missing:
        raise record.wrong(f"options {', '.join(missing)} are missing; expected choice_a and choice_b at least")
    answer = record.take("answer_gt", str)
    letters = [letter for letter in LETTERS if options[letter] == answer]
    if not letters:
        raise record.wrong(f"answer_gt is {answer!r}; expected one of the options {options}")
    folder = f"{task}_{record.take('dataset_name', str)}"
    sound = media / folder / path
    return Item(
        id=_name(record),
        question=record.take("question", str),
        sounds=(sound.with_suffix(".flac") if task == _FLAC else sound,),
        group=_GROUP[task],
        truth={"options": options, "letter": letters[0], "task": task},
        unit=f"{folder}/{path}",
        place=record.place,
    )
