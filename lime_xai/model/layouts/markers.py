"""Tokens that belong to an image, a video or a sound and stand for no part of it: breaks, ends, rows and columns."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from lime_xai.model.modalities import marker_ids
from lime_xai.model.positions import Positions

from .layout import Layout, UnknownLayout
from .reading import read_layouts

_NAMES = re.compile(r"(image|img|vision|video|audio|fake|global).*_(token|tag)$")
"""Attributes of processors and tokenizers that hold the text of a placeholder or a marker."""


def marker_mask(
    config: PreTrainedConfig, inputs: Mapping[str, Any], positions: Positions, processor: Any = None
) -> Tensor:
    """Return which text positions ``[B, T]`` bool only mark what is perceived.

    1. Tokens that the config names as markers (``vision_start_token_id``, ...), and those that the processor names
       (``image_break_token``, ``start_image_token``, ...), wherever they stand.
    2. All text between the first and the last token of one image, video or sound whose layout is known: break tokens,
       markers of tiles, times of frames.
    3. Tokens directly before and after it that also stand inside, such as ``<fake_token_around_image>``.

    Without a processor, the marks around an image that no config names are not known, ``[IMG_END]`` for example.

    Parameters
    ----------
    config : PreTrainedConfig
        Of the top-level model.
    inputs : mapping
        What the processor returned.
    positions : Positions
        ``[B, T]``: of the prompt.
    processor : object, optional
        Of the model.
    """
    ids, device = positions.input_ids, positions.attended.device
    named = torch.tensor(sorted(marker_ids(config) | _named_ids(processor)), dtype=torch.long, device=ids.device)
    found = torch.isin(ids, named).to(device)
    for row, layouts in enumerate(read_layouts(config, inputs, positions, processor)):
        for start, stop in _extents(layouts):
            found[row, slice(*_widened(ids[row].tolist(), start, stop, positions.perceptual[row].tolist()))] = True
    return found & positions.attended & ~positions.perceptual


def marker_mask_of(
    config: PreTrainedConfig,
    inputs: Mapping[str, Any],
    positions: Positions,
    modalities: Collection[str],
    processor: Any = None,
) -> Tensor:
    """Return which text positions ``[B, T]`` bool only mark images, videos or sounds of some modalities.

    Marks of the others stay, so only tokens at an item of these modalities count: all text inside it, tokens directly
    around it that also stand inside, and then one token on each side that the config or the processor names as a mark
    of its kind (images and videos share theirs).

    Parameters
    ----------
    config, inputs, positions, processor
        As in ``marker_mask``.
    modalities : collection of str
        Whose marks.
    """
    ids, device = positions.input_ids, positions.attended.device
    found = torch.zeros(ids.shape, dtype=torch.bool, device=device)
    for row, layouts in enumerate(read_layouts(config, inputs, positions, processor)):
        line, perceptual = ids[row].tolist(), positions.perceptual[row].tolist()
        for layout in layouts:
            if layout.modality not in modalities:
                continue
            start, stop = layout.positions[0], layout.positions[-1] + 1
            if not isinstance(layout, UnknownLayout):
                start, stop = _widened(line, start, stop, perceptual)
            marks = marker_ids(config, [layout.modality]) | _named_ids(processor, layout.modality == "audio")
            start -= start > 0 and line[start - 1] in marks
            stop += stop < len(line) and line[stop] in marks
            found[row, start:stop] = True
    return found & positions.attended & ~positions.perceptual


def _extents(layouts: Sequence[Layout]) -> list[tuple[int, int]]:
    """Return first position and the one after the last of every known item."""
    known = [layout for layout in layouts if not isinstance(layout, UnknownLayout)]
    return [(layout.positions[0], layout.positions[-1] + 1) for layout in known]


def _widened(ids: Sequence[int], start: int, stop: int, perceptual: Sequence[bool]) -> tuple[int, int]:
    """Return an extent with the tokens directly around it that also stand between its placeholders."""
    inside = {ids[position] for position in range(start, stop) if not perceptual[position]}
    while start > 0 and ids[start - 1] in inside:
        start -= 1
    while stop < len(ids) and ids[stop] in inside:
        stop += 1
    return start, stop


def _named_ids(processor: Any, audio: bool | None = None) -> set[int]:
    """Return the ids of the marks that a processor and its tokenizer name: all, those of sounds, or all others."""
    tokenizer = getattr(processor, "tokenizer", processor)
    texts = (
        {
            value
            for one in (processor, tokenizer)
            for name, value in vars(one).items()
            if _NAMES.search(name) and isinstance(value, str) and audio in (None, "audio" in name)
        }
        if processor is not None
        else set()
    )
    found = {tokenizer.convert_tokens_to_ids(text) for text in texts}
    return {token for token in found if isinstance(token, int) and token != getattr(tokenizer, "unk_token_id", None)}
