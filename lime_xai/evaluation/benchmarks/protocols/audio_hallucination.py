"""Audio Hallucination QA: yes or no, whether a sound is in an audio clip."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from lime_xai.evaluation.benchmarks.protocol import Item, Protocol, register_protocol
from lime_xai.evaluation.benchmarks.records import Record, check_unique, read_records
from lime_xai.evaluation.benchmarks.two_classes import (
    SPLITS,
    Class,
    check_splits,
    measures_of,
    rates_of,
    tally,
    truth_of,
)
from lime_xai.evaluation.bootstrap import Floats


@register_protocol
class AudioHallucination(Protocol):
    """Audio Hallucination QA (Kuan et al. 2024), discriminative: yes or no, whether a sound is in a clip of AudioCaps.

    The positive class is "no": a model that says yes too often has a low F1, even if its accuracy is near one half.
    Each split is measured apart; the average is the plain mean of the splits.

    The datasets are ``kuanhuggingface/AudioHallucination_AudioCaps-Random``, ``-Popular`` and ``-Adversarial`` on the
    Hub, part ``test``. Save each as JSON lines: ``load_dataset(name)["test"].to_json(file)``. Read are ``entry_id``,
    ``audio_index``, ``prompt_text`` and ``label``, and ``sampling`` where it is there. Sounds are ``AUDIO_INDEX.wav``
    in the folder. How many questions a dataset has could not be verified, so the length of a file is not checked.

    Parsers; both look for parts of the answer in this order, upper and lower case as given, and the first that is there
    decides: "Yes" or "yes" (also in "eyes"): yes. "No" (also in "Not" and "Nothing", but not "no"): no. "there is no":
    no. "does not contain" or "doesn't contain": no. "contain": yes. "not", "unable" or "can't": no. Else the answer is
    neither.

    - ``official``: ``evaluation.py`` of 2024. An answer that is neither counts in the denominator of precision as if it
      were a no, and is never right.
    - ``icassp2025``: the script of 2025. An answer that is neither is in the denominators of neither precision nor
      recall; it is wrong in the accuracy.

    Those scripts round to 0.01 %, the former also before F1; here nothing is rounded.

    The prompt ``aad`` puts the instruction of Audio-Aware Decoding before the question, as its paper is quoted; what
    stands between both is not known, and a full stop and a space are used here.
    """

    name = "audio-hallucination"
    source = (
        "Kuan, Huang and Lee, Understanding Sounds, Missing the Questions, Interspeech 2024; "
        "github.com/kuan2jiu99/audio-hallucination"
    )
    files: ClassVar[Mapping[str, str]] = {
        split: f"questions of the {split} split, JSON lines or an array" for split in SPLITS
    }
    prompts: ClassVar[Mapping[str, str]] = {
        "none": "{question}",
        "aad": "Focus on the given audio and answer the following question. {question}",
    }
    parsers = ("official", "icassp2025")
    tokens = 64
    measures = measures_of("no")
    average = "groups"

    def read(self, files: Mapping[str, Path], media: Path | None = None, *, partial: bool = False) -> list[Item]:
        """Return the questions of the three splits; a part of the benchmark may be of fewer splits."""
        items = []
        for split in check_splits(self, files, partial):
            records = read_records(files[split])
            check_unique(records, (str(record.take("entry_id", int | str)) for record in records), "entry_id")
            folder = files[split].parent if media is None else media
            items += [_item(split, record, folder) for record in records]
        return items

    def count(self, item: Item, answer: str, parser: str) -> Mapping[str, float]:
        """Return what an answer adds to the sums."""
        said = _parsed(answer)
        found = tally("no", truth_of(item), said)
        if parser == "official":
            return {**found, "claimed": float(said != "yes")}
        return {**found, "asked": found["asked"] * (1 - found["unparsed"])}

    def values(self, sums: Mapping[str, Floats]) -> Mapping[str, Floats]:
        """Return the measures from sums of counts."""
        return rates_of(sums)


_ORDER: tuple[tuple[tuple[str, ...], Class], ...] = (
    (("Yes", "yes"), "yes"),
    (("No",), "no"),
    (("there is no",), "no"),
    (("does not contain", "doesn't contain"), "no"),
    (("contain",), "yes"),
    (("not", "unable", "can't"), "no"),
)


def _parsed(answer: str) -> Class | None:
    return next((said for parts, said in _ORDER if any(part in answer for part in parts)), None)


def _item(split: str, record: Record, folder: Path) -> Item:
    sampling = record.optional("sampling", str)
    if sampling is not None and sampling.lower() in SPLITS and sampling.lower() != split:
        raise record.wrong(f"sampling is {sampling!r}, and the file was given as the {split} split; give it as that")
    clip = record.take("audio_index", str)
    return Item(
        id=f"{split}-{record.take('entry_id', int | str)}",
        question=record.take("prompt_text", str),
        sounds=(folder / f"{clip}.wav",),
        group=split,
        truth={"label": record.take("label", Literal["Yes", "No", "yes", "no"]).lower()},
        unit=clip,
        place=record.place,
    )
