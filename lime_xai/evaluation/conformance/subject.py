"""The model that is checked, its prompt, and what the model alone says to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel

from lime_xai.model.modalities import marker_ids, placeholder_ids
from lime_xai.model.prompt import Prompt, read_prompt

from .state import model_state

PER_TOKEN = ("input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids")
"""Inputs with one entry per position of the prompt."""

GREEDY: dict[str, Any] = {
    "do_sample": False,
    "num_beams": 1,
    "output_logits": True,
    "return_dict_in_generate": True,
}


class Forced(LogitsProcessor):
    """Make ``generate`` choose given tokens.

    Parameters
    ----------
    tokens : sequence of int
        One after the other; further tokens are the model's choice.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = list(tokens)
        self.count = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores ``[B, V]`` under which only the next given token is left."""
        index, self.count = self.count, self.count + 1
        if index >= len(self.tokens):
            return scores
        forced = torch.full_like(scores, float("-inf"))
        forced[:, self.tokens[index]] = 0.0
        return forced


@dataclass(frozen=True)
class Subject:
    """A model and prompts for it.

    Attributes
    ----------
    model : PreTrainedModel
        In eval mode.
    inputs : mapping
        What a processor returns for one prompt.
    rows : sequence of mapping
        Prompts of different length, one row each.
    batch : mapping or None
        The same prompts together, padded on the left; None: they cannot be joined.
    perceptual : tuple of (int, int) or None
        Positions that count as perceived, for a model without placeholders: from the first up to the second, counted
        from the first attended position.
    """

    model: PreTrainedModel
    inputs: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]] = ()
    batch: Mapping[str, Any] | None = None
    perceptual: tuple[int, int] | None = None
    _kept: dict[str, list[int]] = field(default_factory=dict, repr=False, compare=False)

    def state(self) -> dict[str, Any]:
        """Return the state of the model (``model_state``)."""
        return model_state(self.model)

    @property
    def tolerance(self) -> float:
        """Largest relative difference that rounding explains: 1e-3 in float32, some last places in half precision."""
        return max(1e-3, 32 * torch.finfo(self.model.dtype).eps)

    def mask(self, inputs: Mapping[str, Any]) -> Tensor | None:
        """Return the ``[B, T]`` mask of perceived positions, or None where placeholders say it."""
        if self.perceptual is None:
            return None
        attended = inputs["attention_mask"]
        place = attended.cumsum(-1) - 1
        start, stop = self.perceptual
        found: Tensor = (attended > 0) & (place >= start) & (place < stop)
        return found

    def prompt(self, inputs: Mapping[str, Any] | None = None) -> Prompt:
        """Return the prompt, read anew."""
        given = self.inputs if inputs is None else inputs
        return read_prompt(self.model, given, perceptual=self.mask(given))

    def plain(self, count: int, inputs: Mapping[str, Any] | None = None, tokens: Sequence[int] = ()) -> Tensor:
        """Return the logits ``[B, count, V]``, float32, of the model alone.

        Parameters
        ----------
        count : int
            Tokens to generate.
        inputs : mapping, optional
            By default the prompt of the subject.
        tokens : sequence of int
            Tokens that are chosen whatever the model says.
        """
        model: Any = self.model
        given = self.inputs if inputs is None else inputs
        settings = GREEDY | {"max_new_tokens": count, "min_new_tokens": count}
        if tokens:
            settings["logits_processor"] = LogitsProcessorList([Forced(tokens)])
        return torch.stack(model.generate(**given, **settings).logits, 1).float()

    def words(self, count: int) -> list[int]:
        """Return the most probable next tokens that are no placeholder, no marker and no special token."""
        config = self.model.config
        avoided: set[int | None] = {*placeholder_ids(config).values(), *marker_ids(config)}
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            for source in (config, config.get_text_config(), self.model.generation_config):
                value = getattr(source, name, None)
                avoided |= set(value) if isinstance(value, list) else {value}
        if "order" not in self._kept:
            self._kept["order"] = self.plain(1)[0, 0].argsort(descending=True).tolist()
        order = self._kept["order"]
        return [token for token in order if token not in avoided][:count]


def padded_batch(inputs: Mapping[str, Any], extra: int = 2) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Make a batch of two rows of one prompt: the prompt, and the prompt with its last tokens said twice.

    Parameters
    ----------
    inputs : mapping
        One prompt with ``input_ids`` and ``attention_mask``.
    extra : int
        How many tokens are repeated, and how far the first row is padded on the left.

    Returns
    -------
    rows : list of dict
        Both prompts alone.
    batch : dict
        Both together.
    """
    short = dict(inputs)
    longer = {
        name: torch.cat([value, value[:, -extra:]], 1) if name in PER_TOKEN else value for name, value in short.items()
    }
    return [short, longer], join([short, longer])


def join(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return prompts of one row each as one batch, padded on the left with zeros.

    Parameters
    ----------
    rows : sequence of mapping
        With the same keys.
    """
    length = max(row["input_ids"].shape[1] for row in rows)
    joined: dict[str, Any] = {}
    for name, value in rows[0].items():
        parts = [row[name] for row in rows]
        if name in PER_TOKEN:
            parts = [torch.nn.functional.pad(part, (length - part.shape[1], 0)) for part in parts]
        joined[name] = torch.cat(parts) if isinstance(value, Tensor) else value
    return joined
