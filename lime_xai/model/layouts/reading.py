"""The registry of layouts, and the reading of a prompt's layouts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from lime_xai.errors import unknown_name
from lime_xai.model.modalities import PERCEPTUAL, marker_ids, modality_masks
from lime_xai.model.positions import Positions

from .layout import Layout, unknown_layouts


class NotKnown(Exception):  # noqa: N818 - it is no error: the layout is then unknown, and says why
    """Raised by a layout function with the reason why the layout cannot be known."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What a layout function may read: everything of a batch that is known before the model runs.

    Attributes
    ----------
    config : PreTrainedConfig
        Of the top-level model.
    inputs : mapping
        What the processor returned.
    positions : Positions
        Of the prompt, ``B`` rows.
    modality : str
        ``image``, ``video`` or ``audio``.
    processor : object or None
        If the user gave one.
    """

    config: Any
    inputs: Mapping[str, Any]
    positions: Positions
    modality: str
    processor: Any = None

    @cached_property
    def runs(self) -> list[list[tuple[int, int]]]:
        """Per row: start and stop of every run of consecutive tokens of the modality."""
        return [
            [(span.start, span.stop) for span in row if span.modality == self.modality] for row in self.positions.spans
        ]

    @property
    def count(self) -> int:
        """Number of tokens of the modality in the batch."""
        return sum(stop - start for row in self.runs for start, stop in row)

    @cached_property
    def ids(self) -> list[list[int]]:
        """Token ids ``[B][T]``."""
        found: list[list[int]] = self.positions.input_ids.tolist()
        return found

    def tensor(self, name: str) -> Tensor:
        """Return an input.

        Raises
        ------
        NotKnown
            If it is missing or no tensor.
        """
        value = self.inputs.get(name)
        if not isinstance(value, Tensor):
            raise NotKnown(f"the inputs hold no {name}")
        return value

    def token(self, row: int, position: int) -> str | None:
        """Return a token as the tokenizer writes it; None without a processor or outside the row."""
        tokenizer = self.tokenizer
        if tokenizer is None or not 0 <= position < self.positions.length:
            return None
        return str(tokenizer.convert_ids_to_tokens(self.ids[row][position]))

    def text(self, row: int, start: int, stop: int) -> str | None:
        """Return the text of some positions without markers of perceptual content; None without a processor."""
        tokenizer = self.tokenizer
        marks = marker_ids(self.config)
        ids = [token for token in self.ids[row][start:stop] if token not in marks]
        return None if tokenizer is None else str(tokenizer.decode(ids))

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer, or None."""
        return getattr(self.processor, "tokenizer", self.processor)


LayoutFunction = Callable[[Reading], Sequence[Layout]]
"""The images, videos or sounds of a batch in the order of their tokens, with positions counted from 0 in each."""

_Function = TypeVar("_Function", bound=LayoutFunction)

LAYOUTS: dict[tuple[str, str], LayoutFunction] = {}
"""By ``config.model_type`` and modality."""


def register_layout(*model_types: str, modality: str = "image") -> Callable[[_Function], _Function]:
    """Register a function that reads the layouts of some kinds of model.

    Parameters
    ----------
    *model_types : str
        ``model_type`` of top-level configs.
    modality : str
        ``image``, ``video`` or ``audio``.

    Returns
    -------
    callable
        The decorator. The function takes a ``Reading`` and returns one layout per image, video or sound of the batch,
        in the order of their tokens, with positions counted from 0 within each. It raises ``NotKnown`` with a reason
        where something is missing. Every layout is checked: the tokens of each row must add up.

    Raises
    ------
    TypeError
        If a model type is no text, or none is given.
    ValueError
        For another modality, and if a model type has a function already.

    Examples
    --------
    >>> from lime_xai import register_layout
    >>> from lime_xai.model.layouts.grids import single_grid
    >>> @register_layout("my_model")
    ... def squares(reading):
    ...     side = reading.config.vision_config.image_size // 14
    ...     images = len(reading.tensor("pixel_values"))
    ...     return [single_grid("image", side, side)] * images
    """
    if not model_types or not all(isinstance(one, str) for one in model_types):
        raise TypeError(f"model_types is {model_types!r}; register_layout has parentheses and names model types.")
    if modality not in PERCEPTUAL:
        raise unknown_name("modality", modality, PERCEPTUAL)

    def register(function: _Function) -> _Function:
        for model_type in model_types:
            if (model_type, modality) in LAYOUTS:
                raise ValueError(f"{model_type} has a layout of its {modality} tokens already.")
            LAYOUTS[model_type, modality] = function
        return function

    return register


def read_layouts(
    config: PreTrainedConfig, inputs: Mapping[str, Any], positions: Positions, processor: Any = None
) -> list[list[Layout]]:
    """Return the layouts of a batch: per row, one per image, video and sound, in the order of their first tokens.

    Every perceptual position belongs to exactly one layout. Where a layout is not known, it is an ``UnknownLayout``
    for each run of tokens, with the reason.

    Parameters
    ----------
    config : PreTrainedConfig
        Of the top-level model.
    inputs : mapping
        What the processor returned.
    positions : Positions
        Of the prompt, ``B`` rows.
    processor : object, optional
        Some layouts are known only with it: markers of tiles are read by its tokenizer, and the length of a sound's
        feature frames is a setting of its feature extractor.
    """
    placeholders = modality_masks(config, positions.input_ids)
    rows: list[list[Layout]] = [[] for _ in positions.spans]
    for modality, mask in positions.modalities.items():
        reading = Reading(config, inputs, positions, modality, processor)
        known = placeholders.get(modality)
        if known is None or not torch.equal(known, mask):
            found = _unknown(reading, "the positions are a mask of the caller's own (perceptual=)")
        else:
            found = _read(reading)
        for row, layouts in zip(rows, found, strict=True):
            row += layouts
    return [sorted(row, key=lambda layout: layout.positions[0]) for row in rows]


def _read(reading: Reading) -> list[list[Layout]]:
    """Return the layouts of one modality per row."""
    model_type = getattr(reading.config, "model_type", "")
    function = LAYOUTS.get((model_type, reading.modality))
    if function is None:
        return _unknown(reading, f"no layout of {reading.modality} tokens is registered for {model_type!r}")
    try:
        return _assigned(reading, function(reading))
    except NotKnown as unknown:
        return _unknown(reading, str(unknown))


def _assigned(reading: Reading, items: Sequence[Layout]) -> list[list[Layout]]:
    """Return the layouts at the positions of their rows.

    Raises
    ------
    NotKnown
        If the tokens of a row do not add up to whole images, videos or sounds.
    """
    pending = list(items)[::-1]
    rows: list[list[Layout]] = []
    for index, runs in enumerate(reading.runs):
        places = [position for start, stop in runs for position in range(start, stop)]
        found: list[Layout] = []
        used = 0
        while used < len(places):
            size = len(pending[-1].positions) if pending else 0
            if not 0 < size <= len(places) - used:
                raise NotKnown(
                    f"the {len(places)} {reading.modality} tokens of row {index} are not those that the inputs call for"
                )
            found.append(pending.pop().at(places[used : used + size]))
            used += size
        rows.append(found)
    if pending:
        raise NotKnown(f"the inputs hold {len(pending)} more {reading.modality}s than the prompt has tokens for")
    return rows


def _unknown(reading: Reading, reason: str) -> list[list[Layout]]:
    found: list[list[Layout]] = []
    for row in reading.positions.spans:
        runs = unknown_layouts(row, reason)
        found.append([layout for layout in runs if layout.modality == reading.modality])
    return found


def mixed(reason: str) -> LayoutFunction:
    """Return a layout function for families in which no token stands for a part, and the reason is known."""

    def function(reading: Reading) -> Sequence[Layout]:
        raise NotKnown(reason)

    function.__doc__ = f"Unknown: {reason}."
    return function
