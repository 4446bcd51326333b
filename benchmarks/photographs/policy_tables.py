"""Tables of policies on photographs, from what ``python -m benchmarks.photographs policies`` wrote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchmarks.pages import Report, at, cost, table
from lime_xai.evaluation.bootstrap import bounded

from .measured import bounded_or_few

SPLITS = ("random", "popular", "adversarial", "dialogue")
BESIDE = (
    ("no-repeat F1", "no_repeat.f1"),
    ("no-repeat CHAIR_i", "no_repeat.chair_i"),
    ("random AUC", "splits.random.auc"),
    ("dialogue AUC", "splits.dialogue.auc"),
)
"""Changes that are shown for pictograms and photographs."""
FEW = (
    *BESIDE,
    ("adversarial false yes", "splits.adversarial.false_yes"),
    ("count accuracy", "open.count.accuracy"),
    ("second sentences: absent", "detailed.absent"),
    ("grounding of names", "grounding.name"),
)
"""What is shown of policies on another seed, and of those that take long and are measured on few scenes."""


def change(row: Report, key: str, scenes: int | None = None) -> str:
    """Return the change of a value against the plain model; empty for the plain model.

    Its interval is there too, if ``scenes`` is not given or not below ``FEWEST``.
    """
    return bounded_or_few(row["differences"][key], scenes) if row["differences"] else ""


def captions(report: Report) -> str:
    """Return two tables of captions under each policy: as they are, and where naming an object twice is forbidden."""
    found = report["policies"].items()
    plain = [
        (
            f"`{policy}`",
            f"{row['chair_i']:.3f} / {row['f1']:.3f}",
            *(change(row, key) for key in ("chair_i", "f1", "recall")),
            f"{row['repetitive']:.2f}",
            f"{row['detailed']['absent']:.2f}",
            change(row, "detailed.absent"),
        )
        for policy, row in found
    ]
    banned = [
        (
            f"`{policy}`",
            f"{row['no_repeat']['chair_i']:.3f} / {row['no_repeat']['f1']:.3f}",
            *(change(row, f"no_repeat.{key}") for key in ("chair_i", "f1", "recall")),
            "-" if row["no_repeat"].get("outside") is None else f"{row['no_repeat']['outside']:.2f}",
        )
        for policy, row in found
    ]
    changes = ("change of CHAIR_i", "change of F1", "change of recall")
    first = table(("", "CHAIR_i / F1", *changes, "repeat", "second sentences: absent", "its change"), plain)
    second = table(("naming twice forbidden", "CHAIR_i / F1", *changes, "other things"), banned)
    return f"{first}\n\n{second}"


def reliance(report: Report) -> str:
    """Return what each policy does to grounding and relevance, and what it costs."""
    rows = [
        (
            f"`{policy}`",
            f"{row['grounding']['name']:.2f}",
            change(row, "grounding.name"),
            f"{row['grounding']['yes']:.2f}",
            change(row, "grounding.yes"),
            f"{row['relevance']['share']:.3f}",
            change(row, "relevance.share"),
            bounded(row["image_share"]),
            cost(row),
        )
        for policy, row in report["policies"].items()
    ]
    values = ("grounding of names", "its change", "grounding of yes", "its change", "share in the plain model")
    return table(("", *values, "its change", "image share", "cost"), rows)


def rankings(report: Report) -> str:
    """Return the AUC of each split, with its change."""
    return moved("AUC, its change", {split: f"splits.{split}.auc" for split in SPLITS}, report)


def answers(report: Report) -> str:
    """Return the accuracy of each split and of numbers, and false yes, with their changes."""
    shown = {f"{split} accuracy": f"splits.{split}.accuracy" for split in ("random", "adversarial", "dialogue")}
    shown |= {f"{split} false yes": f"splits.{split}.false_yes" for split in ("adversarial", "dialogue")}
    return moved("value, its change", shown | {"count accuracy": "open.count.accuracy"}, report)


def moved(corner: str, shown: Mapping[str, str], report: Report) -> str:
    """Return values of each policy with their changes, one column for each title and dotted name of ``shown``."""
    rows = [(f"`{policy}`", *pairs(row, shown.values())) for policy, row in report["policies"].items()]
    return table((corner, *shown), rows)


def pairs(row: Report, keys: Iterable[str], scenes: int | None = None) -> list[str]:
    """Return values of a policy by their dotted names, each with its change behind a comma if there is one.

    A value that the policy does not have, such as a share of second sentences where no caption has one, is a dash.
    """
    found = []
    for key in keys:
        value = at(row, key)
        by = "" if value is None else change(row, key, scenes)
        found.append(f"{bounded(value)}, {by}" if by else bounded(value))
    return found


def few(report: Report) -> str:
    """Return what ``FEW`` lists of each policy, its image share and its cost."""
    shown = dict(FEW)
    rows = [
        (f"`{policy}`", *pairs(row, shown.values(), report["scenes"]), bounded(row["image_share"]), cost(row))
        for policy, row in report["policies"].items()
    ]
    return table(("value, its change", *shown, "image share", "cost"), rows)
