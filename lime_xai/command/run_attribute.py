"""What ``lime-xai attribute`` does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lime_xai.attribution.attribute import attribute
from lime_xai.attribution.methods.lookup import as_method
from lime_xai.attribution.methods.registry import method_from_dict, method_to_dict
from lime_xai.attribution.methods.task import AttributionMethod
from lime_xai.attribution.result import Attribution
from lime_xai.attribution.targets import TargetLike, resolve_target
from lime_xai.storage.store import number, write_json

from .estimate import estimated
from .files import numbered
from .opening import Asked, Opened, open_prompt
from .progress import duration
from .screen import console, notice

SLOW = 10.0
"""Seconds from which an attribution is announced."""


@dataclass(frozen=True)
class Wanted:
    """What is to be explained, and how, as the options say it."""

    targets: Sequence[str]
    against: str | None
    method: str


def run_attribute(asked: Asked, wanted: Wanted, out: Path | None, save: Path | None, report: Path | None) -> None:
    """Explain every target, print it, and write files.

    Parameters
    ----------
    asked : Asked
        Model and prompt.
    wanted : Wanted
        Targets and method.
    out, save, report : Path, optional
        Picture, tensors and JSON, checked before; the first two are numbered if there are several targets.
    """
    if wanted.against is not None and not wanted.targets:
        raise ValueError("--against needs a --target, from whose logit it is subtracted.")
    method = read_method(wanted.method)
    opened = open_prompt(asked)
    targets = _targets(opened, wanted)
    rows = []
    for index, (name, target) in enumerate(targets):
        announced = _announced(opened, method, target)
        found = attribute(opened.model, opened.prompt, target, method, per_token=False, progress=announced)
        said = opened.tokenizer.decode([token for token in found.target_ids[0].tolist() if token >= 0])
        show(found, said, wanted.against)
        _write(found, opened, *(numbered(path, len(targets))[index] if path else None for path in (out, save)))
        rows.append({"asked": name, "target": said, **_row(found)})
    if report is not None:
        described = {**asked.to_dict(), "method": method_to_dict(method), "against": wanted.against}
        write_json(report, {**described, "targets": rows})
        console.print(f"report: {report}", soft_wrap=True)


def read_method(text: str) -> AttributionMethod:
    """Return a method given by name or as JSON.

    Raises
    ------
    ValueError
        For text that is no JSON, and for an unknown name or setting.
    """
    if not text.lstrip().startswith("{"):
        return as_method(text)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"--method is no valid JSON ({error}); give a name or what method_to_dict writes.") from error
    return method_from_dict(data)


def _targets(opened: Opened, wanted: Wanted) -> list[tuple[str | None, TargetLike]]:
    """Return the targets with the words that a user gave; everything is checked before the first is explained."""
    if not wanted.targets:
        return [(None, None)]
    if wanted.against is None:
        for word in wanted.targets:
            _token_ids(opened, word)
        return [(word, word) for word in wanted.targets]
    second = _single(opened, "--against", wanted.against)
    return [(word, (_single(opened, "--target", word), second)) for word in wanted.targets]


def _token_ids(opened: Opened, word: str) -> list[int]:
    ids = opened.prompt.positions.input_ids
    found = resolve_target(word, 1, opened.prompt.vocabulary, ids.device, opened.processor, ids).ids
    return [] if found is None else [int(token) for token in found[0]]


def _single(opened: Opened, option: str, word: str) -> int:
    """Return the token of a word of a margin."""
    ids = _token_ids(opened, word)
    if len(ids) != 1:
        parts = opened.tokenizer.convert_ids_to_tokens(ids)
        raise ValueError(
            f"{option} {word!r} is {len(ids)} tokens ({', '.join(map(repr, parts))}); a margin compares two single "
            "tokens."
        )
    return ids[0]


def _announced(opened: Opened, method: AttributionMethod, target: TargetLike) -> bool:
    """Say what an attribution will cost, if it takes long; returns whether it does."""
    cost = estimated(opened.prompt, method, target)
    if cost is None or cost.seconds < SLOW:
        return False
    took = duration(cost.seconds)
    notice(f"{method.name} runs {cost.passes} forward passes of {cost.length} tokens, about {took}.")
    return True


def show(found: Attribution, said: str, against: str | None) -> None:
    """Print one attribution."""
    subject = repr(said) if against is None else f"{said!r} against {against!r}"
    value = "logit" if against is None else "margin"
    numbers = f"{value} {float(found.logits[0]):.3f}, residual {float(found.residual[0]):+.3f}"
    console.print(f"target {subject}, {numbers}", soft_wrap=True)
    console.print("shares: " + ", ".join(f"{name} {float(part[0]):.3f}" for name, part in found.shares.items()))
    console.print(found.text(width=console.width))


def _row(found: Attribution) -> dict[str, Any]:
    """Return an attribution as JSON-ready data."""
    row = found.row(0)
    return {
        "target_ids": found.target_ids[0].tolist(),
        "value": number(float(found.logits[0])),
        "residual": number(float(found.residual[0])),
        "shares": {name: number(float(part[0])) for name, part in found.shares.items()},
        "tokens": list(row.labels),
        "relevance": [number(float(value)) for value in row.values],
        "spans": [[span.modality, span.start, span.stop] for span in row.spans],
    }


def _write(found: Attribution, opened: Opened, out: Path | None, save: Path | None) -> None:
    if out is not None:
        found.plot(image=opened.pictures or None).savefig(out, dpi=150)
        console.print(f"picture: {out}", soft_wrap=True)
    if save is not None:
        found.save(save)
        console.print(f"tensors: {save}", soft_wrap=True)
