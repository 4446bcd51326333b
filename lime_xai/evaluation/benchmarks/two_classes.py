"""Questions that are answered yes or no: prompts, counts and measures that several benchmarks share."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

from lime_xai.evaluation.bootstrap import Floats

from .protocol import Item, Measure, Protocol
from .rates import harmonic, ratio

Class = Literal["yes", "no"]
"""What a question is answered with."""

SPLITS = ("random", "popular", "adversarial")
"""How the absent objects of questions were chosen; each split is a file of its own and a group."""

PROMPTS = {
    "none": "{question}",
    "vcd": "{question} Please answer this question with one word.",
    "llava": "{question}\nAnswer the question using a single word or phrase.",
}
"""The question alone, and what VCD's and LLaVA's evaluations add (lmms-eval has LLaVA's)."""


def measures_of(positive: Class) -> dict[str, Measure]:
    """Return the measures of ``rates_of``, for a positive class."""
    return {
        "accuracy": Measure("high", "share of right answers"),
        "precision": Measure("high", f'share of right answers among the answers "{positive}"'),
        "recall": Measure("high", f'share of right answers among the questions whose answer is "{positive}"'),
        "f1": Measure("high", f'harmonic mean of precision and recall of "{positive}"'),
        "yes": Measure(None, 'share of answers "yes"'),
        "unparsed": Measure("low", "share of answers that the parser reads as neither yes nor no"),
    }


def tally(positive: Class, truth: Class, said: Class | None) -> dict[str, float]:
    """Return the counts of one answer; an answer that is neither yes nor no is wrong.

    A parser with other rules replaces the counts that it treats otherwise.

    Parameters
    ----------
    positive : {"yes", "no"}
        The class that precision and recall are about.
    truth : {"yes", "no"}
        The true answer.
    said : {"yes", "no"}, optional
        The answer as parsed; None: neither.

    Returns
    -------
    dict of str to float
        0 or 1 each. ``right``; ``hits``, right and positive; ``claimed``, in the denominator of precision; ``asked``,
        in that of recall; ``counted``, in that of accuracy and of the share of yes; ``yes``; ``unparsed``.
    """
    return {
        "right": float(said == truth),
        "hits": float(said == truth == positive),
        "claimed": float(said == positive),
        "asked": float(truth == positive),
        "counted": 1.0,
        "yes": float(said == "yes"),
        "unparsed": float(said is None),
    }


def rates_of(sums: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return the measures of sums of ``tally``; NaN where there is nothing to divide by."""
    precision, recall = ratio(sums["hits"], sums["claimed"]), ratio(sums["hits"], sums["asked"])
    return {
        "accuracy": ratio(sums["right"], sums["counted"]),
        "precision": precision,
        "recall": recall,
        "f1": harmonic(precision, recall),
        "yes": ratio(sums["yes"], sums["counted"]),
        "unparsed": ratio(sums["unparsed"], sums["items"]),
    }


def first_words(text: str, count: int | None = None) -> tuple[str, ...]:
    """Return the first words of a text in lower case, or all; words are of letters, digits and inner apostrophes."""
    return tuple(re.findall(r"\w+(?:'\w+)*", text.lower())[:count])


def first_word(answer: str) -> Class | None:
    """Return yes or no if that is the first word of an answer, upper or lower case; else None."""
    word = first_words(answer, 1)
    return "yes" if word == ("yes",) else "no" if word == ("no",) else None


def truth_of(item: Item) -> Class:
    """Return the true answer of a question."""
    return "yes" if item.truth["label"] == "yes" else "no"


def check_splits(protocol: Protocol, files: Mapping[str, Path], partial: bool) -> Collection[str]:
    """Return the splits that were given, in the official order: all of them, unless a part is meant.

    Raises
    ------
    ValueError
        For unknown names, or for too few files.
    """
    protocol.check_files(files, optional=protocol.files if partial and files else ())
    return [split for split in protocol.files if split in files]
