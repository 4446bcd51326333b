"""The parts of an attribution as a file holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lime_xai.model.arguments import holds_whole_numbers
from lime_xai.model.layouts.layout import Layout, SoundLayout, layout_from_dict, layout_to_dict
from lime_xai.model.layouts.pictures import Received
from lime_xai.model.layouts.views import views
from lime_xai.model.modalities import Span
from lime_xai.storage.store import holding, read_tensors
from lime_xai.values.checking import checked

if TYPE_CHECKING:
    from .result import Attribution

_PICTURE = "received."
"""Tensors of pictures, spectrograms and waveforms are named so, and numbered."""

KEY = "lime_xai"
"""Of the description in the metadata."""

TENSORS = ("relevance", "input_ids", "target_ids", "logits", "attended")
"""Fields of ``Attribution`` that are tensors."""

OPTIONAL = ("convergence_delta",)
"""Fields that are a tensor or None."""


class StoredReceived(TypedDict):
    """A ``Received``, whose pictures are numbers of tensors."""

    kind: str | None
    reason: str | None
    note: str | None
    pictures: list[int]


class Described(TypedDict):
    """What the metadata always hold."""

    method: str
    tokens: list[list[str]] | None
    spans: list[list[tuple[str, int, int]]]


class Description(Described, total=False):
    """What the metadata hold; files of earlier versions have no layouts, pictures, texts of targets and of margins."""

    layouts: list[list[dict[str, Any]]]
    received: list[list[StoredReceived]]
    targets: list[str]
    target_tokens: list[list[str]] | None
    against: list[str] | None


def described(found: Attribution) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the description and the tensors of an attribution, as ``parts_from`` reads them.

    A picture of several entries is stored once.
    """
    numbers: dict[int, int] = {}
    pictures: list[Tensor] = []

    def number(picture: NDArray[Any]) -> int:
        if id(picture) not in numbers:
            numbers[id(picture)] = len(pictures)
            pictures.append(torch.from_numpy(np.array(picture)))
        return numbers[id(picture)]

    received: list[list[StoredReceived]] = [
        [
            {"kind": one.kind, "reason": one.reason, "note": one.note, "pictures": [number(p) for p in one.pictures]}
            for one in row
        ]
        for row in found.received
    ]
    description = {
        "method": found.method,
        "tokens": found.tokens,
        "spans": [[[span.modality, span.start, span.stop] for span in row] for row in found.spans],
        "layouts": [[layout_to_dict(layout) for layout in row] for row in found.layouts],
        "received": received,
        "targets": found.targets,
        "target_tokens": found.target_tokens,
        "against": found.against,
    }
    held = {name: getattr(found, name) for name in (*TENSORS, *OPTIONAL)}
    tensors = {name: tensor.detach().clone() for name, tensor in held.items() if tensor is not None}
    return description, tensors | {f"{_PICTURE}{index}": picture for index, picture in enumerate(pictures)}


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
        return parts_from(found, tensors)


def parts_from(found: dict[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the fields of an ``Attribution`` from its description and tensors.

    Raises
    ------
    TypeError, ValueError
        If something is missing, or the parts do not belong together.
    """
    checked("its description", found, Description)
    missing = [name for name in TENSORS if name not in tensors]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    check_parts(found, tensors)
    rows = len(found["spans"])
    layouts = [[layout_from_dict(layout) for layout in row] for row in found.get("layouts", [])]
    targets = found.get("targets", [])
    for name, held in (("layouts", layouts), ("targets", targets), ("received", found.get("received", []))):
        if held and len(held) != rows:
            raise ValueError(f"{name} has {len(held)} rows, spans {rows}")
    against = found.get("against")
    if against is not None and len(against) != rows:
        raise ValueError(f"against has {len(against)} rows, spans {rows}")
    spans = [[Span(*span) for span in row] for row in found["spans"]]
    received = _received(found.get("received", []), layouts, tensors)
    check_target_tokens(found.get("target_tokens"), tensors["target_ids"])
    named = {name: tensors.get(name) for name in (*TENSORS, *OPTIONAL)}
    described = {name: found[name] for name in ("method", "tokens")}
    described |= {"targets": targets, "target_tokens": found.get("target_tokens"), "against": against}
    return {**described, "spans": spans, "layouts": layouts, "received": received, **named}


def _received(
    rows: Sequence[Sequence[StoredReceived]], layouts: Sequence[Sequence[Layout]], tensors: Mapping[str, Tensor]
) -> list[list[Received]]:
    """Return what the model received, with its pictures.

    Raises
    ------
    ValueError
        If a picture is missing or of another form, or entries do not fit the layouts.
    """
    if rows and [len(row) for row in rows] != [len(row) for row in layouts]:
        raise ValueError("received does not fit layouts")
    made: dict[int, NDArray[Any]] = {}
    found: list[list[Received]] = []
    for stored, some in zip(rows, layouts, strict=False):
        found.append([])
        for one, layout in zip(stored, some, strict=True):
            for index in one["pictures"]:
                made.setdefault(index, _picture(tensors, index, one["kind"]))
            pictures = tuple(made[index] for index in one["pictures"])
            _check_pictures(one["kind"], pictures, layout)
            found[-1].append(Received(pictures, one["kind"], one["reason"], one["note"]))
    return found


_FORMS = {"pictures": (3, torch.uint8), "spectrogram": (2, torch.float32), "waveform": (1, torch.float32)}
"""Dimensions and type of what was received, by its kind."""


def _picture(tensors: Mapping[str, Tensor], index: int, kind: str | None) -> NDArray[Any]:
    name = f"{_PICTURE}{index}"
    if name not in tensors or kind not in _FORMS:
        raise ValueError(f"it lacks {name}" if kind in _FORMS else f"the kind of {name} is {kind!r}")
    tensor = tensors[name]
    if not tensor.numel() or not bool(tensor.isfinite().all()):
        raise ValueError(f"{name} is empty or holds numbers that are not finite")
    array: NDArray[Any] = tensor.numpy()
    return array


def _check_pictures(kind: str | None, pictures: Sequence[NDArray[Any]], layout: Layout) -> None:
    """Refuse pictures that a figure cannot draw."""
    if kind is None and not pictures:
        return
    if kind not in _FORMS:
        raise ValueError(f"the kind of what was received is {kind!r}; expected one of {sorted(_FORMS)}")
    wanted = 1 if isinstance(layout, SoundLayout) else len(views(layout))
    if len(pictures) != wanted or isinstance(layout, SoundLayout) != (kind != "pictures"):
        raise ValueError(f"{len(pictures)} {kind} do not fit the {wanted} maps of a {type(layout).__name__}")
    dimensions, dtype = _FORMS[kind]
    for picture in pictures:
        if picture.ndim != dimensions or torch.from_numpy(picture).dtype != dtype:
            raise ValueError(f"a picture is {picture.dtype} of shape {picture.shape}, which is no part of {kind}")
        if kind == "pictures" and picture.shape[-1] != 3:
            raise ValueError(f"a picture has shape {picture.shape}; expected [H, W, 3]")


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


def check_target_tokens(labels: Sequence[Sequence[str]] | None, target_ids: Tensor) -> None:
    """Refuse labels of targets that are not one per target (ValueError).

    Parameters
    ----------
    labels : sequence of sequence of str, optional
        Per row and target.
    target_ids : Tensor
        Shape ``[B, G]``.
    """
    rows, answer = target_ids.shape
    if labels is not None and [len(row) for row in labels] != [answer] * rows:
        raise ValueError(
            f"target_tokens has rows of {[len(row) for row in labels]} tokens; target_ids is {[rows, answer]}."
        )


def _check_types(tensors: Mapping[str, Tensor]) -> None:
    for name in ("input_ids", "target_ids"):
        if not holds_whole_numbers(tensors[name]):
            raise ValueError(f"{name} is {tensors[name].dtype}; expected whole numbers")
    if tensors["attended"].dtype != torch.bool:
        raise ValueError(f"attended is {tensors['attended'].dtype}; expected torch.bool")
    for name in ("relevance", "logits", "convergence_delta"):
        if name in tensors and not (tensors[name].is_floating_point() and bool(tensors[name].isfinite().all())):
            raise ValueError(f"{name} is {tensors[name].dtype} and must be finite floating-point numbers")
