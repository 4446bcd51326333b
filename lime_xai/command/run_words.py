"""What ``lime-xai score --model`` does: every word of finished answers, with its grounding in what was asked about."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from lime_xai.evaluation.benchmarks.answers import Answer
from lime_xai.evaluation.benchmarks.asking import Asking, item_prompt
from lime_xai.evaluation.benchmarks.protocol import Item
from lime_xai.evaluation.benchmarks.records import read_records
from lime_xai.printing import signed
from lime_xai.report.page import THRESHOLD
from lime_xai.report.scored import ScoredAnswer, score_answer
from lime_xai.storage.store import DamagedFileError, check_identity, check_writable, write_text
from lime_xai.storage.weights import weights_hash

from .progress import counting
from .screen import console, notice

FORMAT = "words of finished answers, lime_xai 1"
WORST = 12
"""Words that are printed."""


@dataclass(frozen=True)
class Scored:
    """A word of an answer, for the table."""

    system: str
    item: str
    word: str
    grounding: float
    probability: float


def run_words(
    model: Any, processor: Any, asking: Asking, systems: Mapping[str, Mapping[str, Answer]], out: Path
) -> None:
    """Score every word of finished answers, write them as JSON lines, and print those with the lowest grounding.

    1. The first line says what decides the numbers: the weights, their type, prompt and files of the benchmark.
    2. Each answer is a line, written when it is scored; a later run goes on from the lines that are there, if the text
       of the answer is the same. A last line without a line feed was cut off and is written again.

    Parameters
    ----------
    model, processor : object
        As loaded.
    asking : Asking
        Items and prompt.
    systems : mapping of str to mapping of str to Answer
        Answers by system and item.
    out : Path
        File of JSON lines.

    Raises
    ------
    ValueError
        For a file of other weights or questions, an image or sound that is damaged, and an answer that holds no token.
    """
    identity = {**asked_of(asking), "weights": weights_hash(model), "dtype": str(model.dtype)}
    there = _begun(out, identity)
    waiting = [
        (item, name, answers[item.id])
        for item in asking.items
        for name, answers in systems.items()
        if _key(item.id, name, answers[item.id].text) not in there
    ]
    begun, tokens = time.perf_counter(), 0
    with out.open("a", encoding="utf-8") as file, counting("answers") as tell:
        total = len(asking.items) * len(systems)
        tell(total - len(waiting), total)
        for done, (item, name, answer) in enumerate(waiting, start=total - len(waiting) + 1):
            found = _scored(model, processor, asking, item, answer)
            tokens += found.words[-1].stop
            line = {"id": item.id, "system": name, "text": _digest(answer.text), **found.to_dict()}
            file.write(json.dumps(line) + "\n")
            file.flush()
            tell(done, total)
    if waiting:
        seconds = time.perf_counter() - begun
        console.print(f"{len(waiting)} answers, {tokens} tokens in {seconds:.1f} s", highlight=False)
    console.print(_table(list(_words(out, asking, systems)), systems))
    console.print(f"words: {out}", soft_wrap=True)


def _scored(model: Any, processor: Any, asking: Asking, item: Item, answer: Answer) -> ScoredAnswer:
    prompt = item_prompt(model, processor, asking, item, notice)
    try:
        return score_answer(model, prompt, answer.text)
    except ValueError as error:
        raise ValueError(f"{item.place or item.id}: {error}") from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _key(item: str, system: str, text: str) -> tuple[str, str, str]:
    return item, system, _digest(text)


def check_words(out: Path, identity: Mapping[str, Any]) -> None:
    """Refuse a file that holds something else, or words of other questions.

    Parameters
    ----------
    out : Path
        It need not be there.
    identity : mapping
        What decides the numbers, or a part of it.

    Raises
    ------
    ValueError
        Naming what differs.
    """
    check_writable(out)
    if not out.exists():
        return
    with out.open("rb") as file:
        first = file.readline()
    try:
        header = json.loads(first)
    except ValueError:  # no JSON, or no text
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise DamagedFileError(f"{out} is no file of scored words; give another file name.")
    check_identity(out, "words", header, identity)


def asked_of(asking: Asking) -> dict[str, Any]:
    """Return what decides the numbers besides model and answers."""
    return {name: value for name, value in asking.identity().items() if name in ("benchmark", "files", "prompt")}


def _begun(out: Path, identity: Mapping[str, Any]) -> set[tuple[str, str, str]]:
    """Return which answers a file holds; a new one is begun, and a line that was cut off is removed.

    Raises
    ------
    ValueError
        As ``check_words``.
    """
    if not out.exists():
        write_text(out, json.dumps({"format": FORMAT, **identity}) + "\n")
        return set()
    with out.open("rb+") as file:
        data = file.read()
        file.truncate(data.rfind(b"\n") + 1)
    check_words(out, identity)
    return {(row.take("id", str), row.take("system", str), row.take("text", str)) for row in read_records(out)[1:]}


def _words(out: Path, asking: Asking, systems: Mapping[str, Mapping[str, Answer]]) -> Iterator[Scored]:
    """Yield the words with a grounding of the answers that were asked for."""
    wanted = {_key(item.id, name, answers[item.id].text) for item in asking.items for name, answers in systems.items()}
    for row in read_records(out)[1:]:
        item, system, text = (row.take(name, str) for name in ("id", "system", "text"))
        if (item, system, text) not in wanted:
            continue
        for word in row.take("words", list[dict[str, Any]]):
            if word["grounding"] is not None and not word["special"]:
                yield Scored(system, item, word["text"], word["grounding"], word["probability"])


def _table(words: Sequence[Scored], systems: Mapping[str, Any]) -> Table:
    """Return the words with the lowest grounding, and how many of each system are below ``THRESHOLD``."""
    counts = []
    for name in systems:
        own = [word.grounding for word in words if word.system == name]
        low = sum(value < THRESHOLD for value in own)
        counts.append(f"{name}: {low} of {len(own)} words below {THRESHOLD} nats")
    table = Table(title="lowest grounding", caption="; ".join(counts), title_justify="left", caption_justify="left")
    for name in ("grounding", "probability"):
        table.add_column(name, justify="right")
    for name in ("word", "answer to", "of"):
        table.add_column(name)
    for word in sorted(words, key=lambda word: word.grounding)[:WORST]:
        numbers = signed(word.grounding), f"{word.probability:.2f}"
        table.add_row(*numbers, *(Text(text) for text in (word.word, word.item, word.system)))
    return table
