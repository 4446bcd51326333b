"""The parts of an attribution as a file holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor

from lime_xai.model.arguments import holds_whole_numbers
from lime_xai.model.layouts.layout import layout_from_dict
from lime_xai.model.modalities import Span
from lime_xai.storage.store import holding, read_tensors
from lime_xai.values.checking import checked

KEY = "lime_xai"
"""Of the description in the metadata."""

TENSORS = ("relevance", "input_ids", "target_ids", "logits", "attended")
"""Fields of ``Attribution`` that are tensors."""

OPTIONAL = ("convergence_delta",)
"""Fields that are a tensor or None."""


class Described(TypedDict):
    """What the metadata always hold."""

    method: str
    tokens: list[list[str]] | None
    spans: list[list[tuple[str, int, int]]]


class Description(Described, total=False):
    """What the metadata hold; files of earlier versions have no layouts."""

    layouts: list[list[dict[str, Any]]]


def read_parts(path: str | Path) -> dict[str, Any]:
    """Return the fields of a saved ``Attribution``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DamagedFileError
        If it was not written by ``Attribution.save``, or its parts do not belong together.
    """
    what = "an attribution, which Attribution.save writes"
    found, tensors = read_tensors(path, KEY, what)
    with holding(path, what, "write it again"):
        checked("its description", found, Description)
        missing = [name for name in TENSORS if name not in tensors]
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)}")
        check_parts(found, tensors)
        layouts = [[layout_from_dict(layout) for layout in row] for row in found.get("layouts", [])]
        if layouts and len(layouts) != len(found["spans"]):
            raise ValueError(f"layouts has {len(layouts)} rows, spans {len(found['spans'])}")
    spans = [[Span(*span) for span in row] for row in found["spans"]]
    named = {name: tensors.get(name) for name in (*TENSORS, *OPTIONAL)}
    return {"method": found["method"], "tokens": found["tokens"], "spans": spans, "layouts": layouts, **named}


def check_parts(found: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Refuse parts of an attribution that do not belong together.

    Parameters
    ----------
    found : mapping
        ``method``, ``tokens`` and ``spans``.
    tensors : mapping of str to Tensor
        The ``TENSORS``, and those of ``OPTIONAL`` that are known.

    Raises
    ------
    ValueError
        For shapes and types other than those of ``Attribution``, numbers that are not finite, and spans that leave the
        sequence.
    """
    check_shapes(found["spans"], found["tokens"], tensors)
    _check_types(tensors)


def check_shapes(
    spans: Sequence[Sequence[tuple[str, int, int]]],
    tokens: Sequence[Sequence[str]] | None,
    tensors: Mapping[str, Tensor],
) -> None:
    """Refuse parts of an attribution whose shapes do not belong together.

    Parameters
    ----------
    spans : sequence of sequence of (str, int, int)
        Per row: modality, start and stop.
    tokens : sequence of sequence of str, optional
        Labels.
    tensors : mapping of str to Tensor
        As in ``check_parts``.

    Raises
    ------
    ValueError
        For shapes other than those of ``Attribution``, and spans that leave the sequence.
    """
    ids = tensors["input_ids"]
    if ids.dim() != 2:
        raise ValueError(f"input_ids has shape {tuple(ids.shape)}; expected [rows, tokens]")
    rows, length = ids.shape
    answer = tuple(tensors["logits"].shape)
    if answer[:1] != (rows,) or len(answer) > 2:
        raise ValueError(f"logits has shape {answer}; expected [{rows}] or [{rows}, answer length]")
    targets = tuple(tensors["target_ids"].shape)
    if len(targets) != 2 or targets[0] != rows or answer[1:] not in ((), targets[1:]):
        raise ValueError(f"target_ids has shape {targets}; expected [{rows}, answer length]")
    for name, shape in (("relevance", (*answer, length)), ("attended", (rows, length)), ("convergence_delta", answer)):
        if name in tensors and tuple(tensors[name].shape) != shape:
            raise ValueError(f"{name} has shape {tuple(tensors[name].shape)}; expected {shape}")
    if len(spans) != rows or any(not 0 <= a < b <= length for row in spans for _, a, b in row):
        raise ValueError(f"spans do not fit {rows} rows of {length} tokens")
    if tokens is not None and [len(row) for row in tokens] != [length] * rows:
        raise ValueError(f"tokens do not fit {rows} rows of {length} tokens")


def _check_types(tensors: Mapping[str, Tensor]) -> None:
    for name in ("input_ids", "target_ids"):
        if not holds_whole_numbers(tensors[name]):
            raise ValueError(f"{name} is {tensors[name].dtype}; expected whole numbers")
    if tensors["attended"].dtype != torch.bool:
        raise ValueError(f"attended is {tensors['attended'].dtype}; expected torch.bool")
    for name in ("relevance", "logits", "convergence_delta"):
        if name in tensors and not (tensors[name].is_floating_point() and bool(tensors[name].isfinite().all())):
            raise ValueError(f"{name} is {tensors[name].dtype} and must be finite floating-point numbers")
