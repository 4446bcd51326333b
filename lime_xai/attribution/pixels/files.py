"""Attributions to pixels as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypedDict

from torch import Tensor

from lime_rules import Audit, AuditRow
from lime_rules.operations import Operation
from lime_rules.structure import ROLE_KINDS, Role
from lime_xai.attribution.files import described, parts_from
from lime_xai.attribution.result import Attribution
from lime_xai.storage.store import holding, read_tensors, write_tensors
from lime_xai.values.checking import checked

if TYPE_CHECKING:
    from .result import PixelAttribution

KEY = "lime_xai.pixels"
"""Of the description in the metadata."""

_RELEVANCE, _INPUT, _COMPANION, _TOKENS = "relevance.", "input.", "companion.", "tokens."
"""Of the names of tensors."""

_VISION = ("model_type", "patch_size", "temporal_patch_size", "spatial_merge_size")
_AUDIO = ("model_type", "num_mel_bins")
"""What ``pixel_maps`` reads of the configurations of encoders."""


class _Row(TypedDict):
    name: str
    module: str
    kind: str
    detail: str
    rule: str


class _Config(TypedDict):
    model_type: str
    vision_config: dict[str, str | int] | None
    audio_config: dict[str, str | int] | None


class _File(TypedDict):
    tokens: dict[str, Any]
    rows: list[_Row]
    operations: list[tuple[str, str]]
    config: _Config
    companions: dict[str, Any]


def write_pixels(path: str | Path, found: PixelAttribution) -> None:
    """Write an attribution to pixels to one safetensors file.

    Raises
    ------
    ValueError
        If there is no such folder.
    """
    tokens, tensors = described(found.tokens)
    tensors = {f"{_TOKENS}{name}": tensor for name, tensor in tensors.items()}
    companions = {name: value for name, value in found.companions.items() if isinstance(value, Tensor)}
    for prefix, some in ((_RELEVANCE, found.relevance), (_INPUT, found.inputs), (_COMPANION, companions)):
        tensors |= {f"{prefix}{name}": value.clone() for name, value in some.items()}
    description = {
        "tokens": tokens,
        "rows": [
            {
                "name": row.name,
                "module": row.module,
                "kind": row.role.kind,
                "detail": row.role.detail,
                "rule": row.rule,
            }
            for row in found.coverage.rows
        ],
        "operations": [[one.module, one.name] for one in found.coverage.operations],
        "config": _described_config(found.config),
        "companions": {name: value for name, value in found.companions.items() if name not in companions},
    }
    write_tensors(path, tensors, KEY, description)


def _described_config(config: Any) -> dict[str, Any]:
    """Return what maps need of the configuration of a model."""

    def part(name: str, wanted: tuple[str, ...]) -> dict[str, Any] | None:
        inner = getattr(config, name, None)
        if inner is None:
            return None
        values = {key: getattr(inner, key, None) for key in wanted}
        return {key: value for key, value in values.items() if isinstance(value, str | int)}

    described_parts = {"vision_config": part("vision_config", _VISION), "audio_config": part("audio_config", _AUDIO)}
    return {"model_type": str(getattr(config, "model_type", "")), **described_parts}


def read_pixels(path: str | Path) -> dict[str, Any]:
    """Return the fields of a saved ``PixelAttribution``.

    ``config`` holds what maps need of the model's configuration.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DamagedFileError
        If it is a file of something else, or its parts do not belong together.
    """
    what = "an attribution to pixels, which PixelAttribution.save writes"
    found, tensors = read_tensors(path, KEY, what)
    with holding(path, what, "write it again"):
        checked("its description", found, _File)
        held = {prefix: _named(tensors, prefix) for prefix in (_RELEVANCE, _INPUT, _COMPANION, _TOKENS)}
        tokens = Attribution(**parts_from(found["tokens"], held[_TOKENS]))
        _check(held[_RELEVANCE], held[_INPUT], tokens)
        config = found["config"]
        parts = {name: SimpleNamespace(**inner) for name, inner in config.items() if isinstance(inner, dict)}
        return {
            "relevance": held[_RELEVANCE],
            "tokens": tokens,
            "inputs": held[_INPUT],
            "coverage": _coverage(found),
            "config": SimpleNamespace(model_type=config["model_type"], **parts),
            "companions": {**found["companions"], **held[_COMPANION]},
        }


def _named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _coverage(found: Mapping[str, Any]) -> Audit:
    """Return the audit of a description.

    Raises
    ------
    ValueError
        If a module has a role that is not known.
    """
    unknown = sorted({row["kind"] for row in found["rows"]} - set(ROLE_KINDS))
    if unknown:
        raise ValueError(f"the roles {', '.join(unknown)} are not known")
    rows = (
        AuditRow(row["name"], row["module"], Role(row["kind"], row["detail"]), row["rule"]) for row in found["rows"]
    )
    return Audit(tuple(rows), tuple(Operation(*one) for one in found["operations"]))


def _check(relevance: Mapping[str, Tensor], inputs: Mapping[str, Tensor], tokens: Attribution) -> None:
    """Refuse relevance that is not that of the inputs.

    Raises
    ------
    ValueError
        For other names, shapes, types, or numbers that are not finite.
    """
    if not relevance or relevance.keys() != inputs.keys():
        raise ValueError(f"relevance is of {sorted(relevance)}, inputs are {sorted(inputs)}")
    answer = tuple(tokens.relevance.shape[1:-1])
    for name, value in relevance.items():
        wanted = (*answer, *inputs[name].shape)
        if tuple(value.shape) != wanted:
            raise ValueError(f"relevance of {name} has shape {tuple(value.shape)}; expected {wanted}")
        for what, numbers in (("relevance", value), ("the input", inputs[name])):
            if not (numbers.is_floating_point() and numbers.numel() and bool(numbers.isfinite().all())):
                raise ValueError(f"{what} {name} is {numbers.dtype} and must be finite floating-point numbers")
