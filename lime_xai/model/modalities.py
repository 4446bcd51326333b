"""Which positions of a prompt are image, video, audio or text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from lime_xai.values.checking import Range

from .arguments import check_values

Modality = Literal["image", "video", "audio"]

PERCEPTUAL: tuple[Modality, ...] = get_args(Modality)
"""The modalities that are perceived; everything else is text."""


def _each_once(names: tuple[str, ...]) -> bool:
    return len(names) == len(set(names)) > 0


Modalities = Annotated[tuple[Modality, ...], Range("at least one modality, each once", _each_once)] | None
"""The modalities whose positions form a perceptual group, ``("audio",)`` for example; None: all that the prompt holds.

Text is never part of a perceptual group."""


def in_order(modalities: Modalities) -> Modalities:
    """Return modalities in the order of ``PERCEPTUAL``, so that one group has one name."""
    return None if modalities is None else tuple(name for name in PERCEPTUAL if name in modalities)


@dataclass(frozen=True)
class Span:
    """A run of consecutive positions of one modality in one row: ``start <= position < stop``."""

    modality: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def _configs(config: PreTrainedConfig) -> Iterator[PreTrainedConfig]:
    yield config
    for name in getattr(config, "sub_configs", {}):
        child = getattr(config, name, None)
        if isinstance(child, PreTrainedConfig):
            yield child


def placeholder_ids(config: PreTrainedConfig) -> dict[str, int]:
    """Return the token id that stands for one image, video or audio embedding, per modality.

    Looks for ``<modality>_token_id`` and ``<modality>_token_index`` in the config, then in its sub-configs.

    Parameters
    ----------
    config : PreTrainedConfig
        Of the top-level model.

    Returns
    -------
    dict of str to int
        Empty for a text-only model.
    """
    found: dict[str, int] = {}
    for modality in PERCEPTUAL:
        for part in _configs(config):
            for name in (f"{modality}_token_id", f"{modality}_token_index"):
                value = getattr(part, name, None)
                if isinstance(value, int) and not isinstance(value, bool):
                    found.setdefault(modality, value)
    return found


_VISUAL_MARKS = ("vision_start", "vision_end", "boi", "eoi", "video_start")
_MARKS = {"image": _VISUAL_MARKS, "video": _VISUAL_MARKS, "audio": ("audio_start", "audio_end", "boa", "eoa")}


def marker_ids(config: PreTrainedConfig, modalities: Iterable[str] = PERCEPTUAL) -> frozenset[int]:
    """Return ids of tokens that only open or close perceptual content (``vision_start_token_id``, ...).

    Images and videos share their marks.
    """
    marks = sorted({mark for modality in modalities for mark in _MARKS[modality]})
    found = set()
    for part in _configs(config):
        for mark in marks:
            for name in (f"{mark}_token_id", f"{mark}_token_index"):
                value = getattr(part, name, None)
                if isinstance(value, int) and not isinstance(value, bool):
                    found.add(value)
    return frozenset(found)


def modality_masks(
    config: PreTrainedConfig, input_ids: Tensor, perceptual: Tensor | Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Return one boolean mask ``[B, T]`` per perceptual modality that occurs.

    Parameters
    ----------
    config : PreTrainedConfig
        Names the placeholder ids.
    input_ids : Tensor
        ``[B, T]``.
    perceptual : Tensor or mapping of str to Tensor, optional
        The user's own mask ``[B, T]`` (counted as ``image``), or one per modality; replaces the placeholders.

    Returns
    -------
    dict of str to Tensor
        Disjoint masks; empty if no position is perceptual.

    Raises
    ------
    ValueError
        If a user's mask has another shape than ``input_ids``.
    """
    if perceptual is None:
        masks = {name: input_ids == token for name, token in placeholder_ids(config).items()}
    else:
        given = perceptual if isinstance(perceptual, Mapping) else {"image": perceptual}
        masks = {
            name: check_values(f"perceptual mask {name!r}", mask).to(input_ids.device).bool()
            for name, mask in given.items()
        }
        for name, mask in masks.items():
            if mask.shape != input_ids.shape:
                raise ValueError(
                    f"perceptual mask {name!r} has shape {tuple(mask.shape)}, the prompt {tuple(input_ids.shape)}; "
                    "give one entry per prompt token."
                )
    return {name: mask for name, mask in masks.items() if bool(mask.any())}


def union(masks: Mapping[str, Tensor], like: Tensor) -> Tensor:
    """Return the mask ``[B, T]`` of all perceptual positions; ``like`` gives shape and device."""
    result = torch.zeros(like.shape, dtype=torch.bool, device=like.device)
    for mask in masks.values():
        result = result | mask
    return result


def spans(masks: Mapping[str, Tensor], attended: Tensor) -> list[list[Span]]:
    """Return the spans of every row, in order; padding belongs to none.

    Parameters
    ----------
    masks : mapping of str to Tensor
        From ``modality_masks``.
    attended : Tensor
        ``[B, T]``, False on padding.

    Returns
    -------
    list of list of Span
    """
    names = ["", "text", *masks]
    codes = attended.long()
    for code, mask in enumerate(masks.values(), start=2):
        codes = torch.where(mask & attended, torch.full_like(codes, code), codes)
    rows = []
    for row in codes.tolist():
        found: list[Span] = []
        start = 0
        for position in range(1, len(row) + 1):
            if position == len(row) or row[position] != row[start]:
                if row[start]:
                    found.append(Span(names[row[start]], start, position))
                start = position
        rows.append(found)
    return rows


def has_modality_inputs(inputs: Mapping[str, Any]) -> bool:
    """Whether a batch holds features of images, videos or sounds: numbers that are neither embeddings nor a mask.

    Families name them in many ways (``pixel_values``, ``input_features``, ``input_values``, ...). Tensors without an
    element are none.
    """
    return any(
        name in ("audio_input_ids", "mm_encoder_outputs") or _holds_fractions(value)
        for name, value in inputs.items()
        if value is not None and name not in ("inputs_embeds", "attention_mask")
    )


def _holds_fractions(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_holds_fractions, value))
    return isinstance(value, Tensor) and value.is_floating_point() and value.numel() > 0
