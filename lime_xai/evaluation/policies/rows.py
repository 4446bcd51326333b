"""What a report of policies holds of each, for files from which a measurement resumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import GenericAlias
from typing import Any, Literal, NotRequired, TypedDict, get_type_hints

from lime_xai.policies.registry import policy_from_dict
from lime_xai.storage.store import check_identity, holding, read_json
from lime_xai.worlds import World, load_world

Value = float | None


class CaptionRow(TypedDict):
    """Metrics of captions."""

    chair_i: Value
    recall: Value
    f1: Value
    finished: Value
    empty: Value


class ClosedRow(TypedDict):
    """Metrics of closed questions."""

    accuracy: Value
    auc: Value
    f1_yes: NotRequired[Value]
    f1_no: NotRequired[Value]


class SplitRows(TypedDict):
    """Closed questions by split."""

    random: ClosedRow
    popular: ClosedRow
    adversarial: ClosedRow
    dialogue: ClosedRow


class DetailRow(TypedDict):
    """Metrics of second sentences."""

    true: Value


class WordRow(TypedDict):
    """Metrics of open questions."""

    accuracy: Value


class RelevanceRow(TypedDict):
    """Where the relevance of true names lies."""

    share: Value
    inside: Value


class RelevanceValues(TypedDict):
    """Relevance of names, and the scene of each."""

    scenes: list[int]
    values: list[Value]


class SaidRow(TypedDict):
    """What ``Outcome.to_dict`` makes."""

    of: str
    captions: list[str]
    no_repeat: list[str]
    detailed: list[str]
    margins: dict[str, list[Value]]
    answers: dict[str, list[str]]
    grounding: dict[str, list[Value]]
    relevance: dict[str, RelevanceValues]


class PolicyRow(CaptionRow):
    """The row of one policy on any world: what tables show, and its settings."""

    settings: dict[str, Any] | None
    relevance: NotRequired[RelevanceRow]
    against: NotRequired[Literal["nothing", "background"] | None]
    repeated: Value
    no_repeat: CaptionRow
    detailed: DetailRow
    splits: SplitRows
    cost: Value
    intervals: dict[str, tuple[Value, Value]]
    differences: dict[str, tuple[Value, Value, Value]]
    said: NotRequired[SaidRow]


def report_type(world: World) -> Any:
    """Return the TypedDict of a report on a world: ``PolicyRow``, and what the kinds of the world's questions add."""
    typed: Any = TypedDict  # its keys are known at run time only
    opened = typed("OpenRows", dict.fromkeys(world.open_kinds, WordRow))
    grounding = typed("GroundingRow", dict.fromkeys(world.probe_kinds, Value))
    kinds = {"open": opened, "grounding": grounding, f"{world.modality}_share": Value}
    row = typed("WorldRow", get_type_hints(PolicyRow, include_extras=True) | kinds)
    return typed("Report", {"policies": GenericAlias(dict, (str, row))})


SHOWN_DIFFERENCES = ("no_repeat.chair_i", "no_repeat.f1", "splits.dialogue.auc")
"""Differences that the table of differences shows."""


def read_rows(path: Path, identity: Mapping[str, Any], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the rows of a report, by policy.

    Parameters
    ----------
    path : Path
        The report.
    identity : mapping
        What it must have measured, and on which ``world``.
    names : sequence of str
        Policies that are asked for; their settings must be those of a policy.

    Raises
    ------
    ValueError
        If it is no report, is damaged, or measured something else.
    """
    found = read_json(path, "a report of policies")
    check_identity(path, "a report", found, identity)
    kind = report_type(load_world(identity["world"]))
    rows: dict[str, dict[str, Any]] = read_json(path, "a report of policies", kind)["policies"]
    with holding(path, "a report of policies"):
        for name, row in rows.items():
            lacking = [key for key in SHOWN_DIFFERENCES if row["differences"] and key not in row["differences"]]
            if lacking:
                raise ValueError(f"policies[{name!r}] lacks the differences {', '.join(lacking)}")
            if name in names and row["settings"] is not None:
                policy_from_dict(row["settings"])
    return rows
