"""One call of a decoder as data: cut, join, repeat it, and exchange its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .records import ShortRepr

DEEP_FEATURES, VISUAL_MASK = "deepstack_visual_embeds", "visual_pos_masks"
"""transformers' names of the arguments for deep visual features and the positions that they belong to."""


@dataclass(frozen=True, eq=False, repr=False)
class DecoderCall(ShortRepr):
    """One call of the decoder.

    Attributes
    ----------
    embeddings : Tensor
        ``[B, n, d]``, all modalities merged.
    kwargs : dict
        Everything else the decoder was given (masks, position ids, deep visual features), without the cache.
    """

    embeddings: Tensor
    kwargs: dict[str, Any]

    @property
    def length(self) -> int:
        """Number of positions."""
        return self.embeddings.shape[1]

    @property
    def deep_features(self) -> tuple[Tensor, ...]:
        """``[N, d]`` each: visual features that some families add after the first layers; empty for other families.

        They belong to the ``N`` positions of ``visual_mask``, row by row.
        """
        found = self.kwargs.get(DEEP_FEATURES)
        return tuple(found) if isinstance(found, list) and isinstance(self.visual_mask, Tensor) else ()

    @property
    def visual_mask(self) -> Tensor | None:
        """``[B, n]`` bool: positions that have deep visual features; None without any."""
        found = self.kwargs.get(VISUAL_MASK)
        return found if isinstance(found, Tensor) else None

    def with_inputs(self, embeddings: Tensor, deep: Sequence[Tensor]) -> DecoderCall:
        """Return the call with other embeddings ``[B, n, d]`` and deep visual features ``[N, d]`` each."""
        kwargs = {**self.kwargs, DEEP_FEATURES: list(deep)} if deep else self.kwargs
        return DecoderCall(embeddings, kwargs)

    def last_position(self, window: int | None) -> DecoderCall:
        """Return the call for the last position alone, over a cache of the others.

        Parameters
        ----------
        window : int or None
            Of the decoder's sliding layers; their mask rows keep that many columns.
        """
        return self._sliced(slice(-1, None), slice(None), window)

    def without_last(self) -> DecoderCall:
        """Return the call for all positions but the last."""
        return self._sliced(slice(None, -1), slice(None, -1), None)

    def select(self, rows: Tensor) -> DecoderCall:
        """Return the call with its batch rows re-ordered (beam search)."""
        rows = rows.to(self.embeddings.device)
        return replace(self, embeddings=self.embeddings.index_select(0, rows))

    def row(self, index: int) -> DecoderCall:
        """Return the call of one row alone, with everything that belongs to it."""
        batch, length = self.embeddings.shape[:2]
        visual, deep = self.visual_mask, self.deep_features
        kwargs: dict[str, Any] = {}
        for name, value in self.kwargs.items():
            if name == DEEP_FEATURES and deep and visual is not None:
                start, count = int(visual[:index].sum()), int(visual[index].sum())
                kwargs[name] = [features[start : start + count] for features in deep]
            elif isinstance(value, Mapping):
                kwargs[name] = {key: _row_of(part, batch, length, index) for key, part in value.items()}
            else:
                kwargs[name] = _row_of(value, batch, length, index)
        return DecoderCall(self.embeddings[index : index + 1], kwargs)

    def with_embeddings(self, embeddings: Tensor, deep: Sequence[Tensor] = ()) -> DecoderCall:
        """Return the call of one row with other embeddings for many rows.

        Parameters
        ----------
        embeddings : Tensor
            ``[R, n, d]``.
        deep : sequence of Tensor
            Deep visual features, ``[R, N, d]`` each; empty if the call has none.
        """
        rows = embeddings.shape[0]
        kwargs: dict[str, Any] = {}
        for name, value in self.kwargs.items():
            if name == DEEP_FEATURES and self.deep_features:
                kwargs[name] = [features.flatten(0, 1) for features in deep]
            elif isinstance(value, Mapping):
                kwargs[name] = {key: _repeated(part, 1, self.length, rows) for key, part in value.items()}
            else:
                kwargs[name] = _repeated(value, 1, self.length, rows)
        return DecoderCall(embeddings, kwargs)

    def with_tangents(self, groups: Tensor) -> DecoderCall:
        """Return the call of a relevance stream: below its own rows, one tangent of the embeddings per group.

        Parameters
        ----------
        groups : Tensor
            ``[B, G, n]``: which positions belong to each group, or with which weight. Deep visual features belong to
            the group of their position.
        """
        batch, count, length = groups.shape
        parts = groups.to(self.embeddings.device, self.embeddings.dtype).transpose(0, 1)
        tangents = (parts[..., None] * self.embeddings).flatten(0, 1)
        visual, deep = self.visual_mask, self.deep_features
        kwargs: dict[str, Any] = {}
        for name, value in self.kwargs.items():
            if name == DEEP_FEATURES and deep and visual is not None:
                weights = parts[:, visual.to(parts.device)]
                kwargs[name] = [torch.cat([f, (weights[..., None].to(f) * f).flatten(0, 1)]) for f in deep]
            elif isinstance(value, Mapping):
                kwargs[name] = {key: _repeated(part, batch, length, 1 + count) for key, part in value.items()}
            else:
                kwargs[name] = _repeated(value, batch, length, 1 + count)
        return DecoderCall(torch.cat([self.embeddings, tangents]), kwargs)

    def _sliced(self, rows: slice, columns: slice, window: int | None) -> DecoderCall:
        batch, length = self.embeddings.shape[:2]
        kwargs = {}
        for name, value in self.kwargs.items():
            if name == "attention_mask":
                kwargs[name] = _sliced_mask(value, rows, columns, window)
            elif name == "position_ids" and isinstance(value, Tensor):
                kwargs[name] = value[..., rows]
            elif name in (VISUAL_MASK, DEEP_FEATURES):
                kwargs[name] = self._visual(name, value, rows)
            elif isinstance(value, Tensor) and value.dim() > 1 and value.shape[:2] == (batch, length):
                kwargs[name] = value[:, rows]
            else:
                kwargs[name] = value
        return DecoderCall(self.embeddings[:, rows], kwargs)

    def _visual(self, name: str, value: Any, rows: slice) -> Any:
        mask = self.visual_mask
        if rows == slice(-1, None) or mask is None:
            return value if mask is None else None
        return mask[:, rows] if name == VISUAL_MASK else value


def _row_of(value: Any, batch: int, length: int, index: int) -> Any:
    """Return one row of a tensor that has one per prompt, and anything else as it is."""
    if not isinstance(value, Tensor) or value.dim() < 2:
        return value
    if value.dim() == 3 and value.shape[1:] == (batch, length):  # position ids of several axes, [A, B, n]
        return value[:, index : index + 1]
    return value[index : index + 1] if value.shape[0] == batch else value


def _repeated(value: Any, batch: int, length: int, times: int) -> Any:
    """Return a tensor of one row per prompt with these rows repeated, and anything else as it is."""
    if not isinstance(value, Tensor) or value.dim() < 2:
        return value
    if value.shape[0] == batch and (value.dim() != 3 or value.shape[1:] != (batch, length)):
        return value.repeat(times, *[1] * (value.dim() - 1))
    if value.dim() == 3 and value.shape[1] == batch:  # position ids of several axes, [A, B, n]
        return value.repeat(1, times, 1)
    return value


def merged(calls: list[DecoderCall]) -> list[DecoderCall]:
    """Join the one-token calls after a prompt into one, where their masks allow it.

    With two-dimensional masks (or none) the decoder builds its own mask, so that many tokens may enter at once. A
    four-dimensional mask is valid for its own step only, and such calls are not joined.

    Parameters
    ----------
    calls : list of DecoderCall
        The prompt first.

    Returns
    -------
    list of DecoderCall
        Two calls, or as many as were given.
    """
    rest = calls[1:]
    masks = [call.kwargs.get("attention_mask") for call in rest]
    simple = all(mask is None or (isinstance(mask, Tensor) and mask.dim() == 2) for mask in masks)
    if len(rest) < 2 or not simple:
        return calls
    kwargs = dict(rest[-1].kwargs)
    if isinstance(kwargs.get("position_ids"), Tensor):
        kwargs["position_ids"] = torch.cat([call.kwargs["position_ids"] for call in rest], -1)
    return [calls[0], DecoderCall(torch.cat([call.embeddings for call in rest], 1), kwargs)]


def whole(calls: Sequence[DecoderCall]) -> DecoderCall:
    """Return a prompt and the calls after it as one call, without a cache.

    A recurrent layer takes several tokens at once only at the beginning of a sequence.

    Parameters
    ----------
    calls : sequence of DecoderCall
        The prompt first.

    Raises
    ------
    NotImplementedError
        For masks that are valid for one call only.
    """
    first, last = calls[0], calls[-1]
    mask = last.kwargs.get("attention_mask")
    if not (mask is None or (isinstance(mask, Tensor) and mask.dim() == 2)):
        raise NotImplementedError(
            "An answer of several tokens cannot be explained: the decoder has recurrent layers, and masks that the "
            "model makes for each call. Explain one token: give its id as target, the answer before it in input_ids."
        )
    kwargs = {**first.kwargs, **({} if mask is None else {"attention_mask": mask})}
    batch = first.embeddings.shape[0]
    for name, value in first.kwargs.items():
        if name == VISUAL_MASK and isinstance(value, Tensor):
            later = sum(call.length for call in calls[1:])
            kwargs[name] = torch.nn.functional.pad(value, (0, later))
        elif isinstance(value, Tensor) and name != "attention_mask" and _counts_positions(value, batch, first.length):
            kwargs[name] = torch.cat([call.kwargs[name] for call in calls], -1)
    return DecoderCall(torch.cat([call.embeddings for call in calls], 1), kwargs)


def _counts_positions(value: Tensor, batch: int, length: int) -> bool:
    """Whether a tensor has one number per position: ``[B, n]``, ``[1, n]`` or ``[A, B, n]``."""
    return value.dim() in (2, 3) and value.shape[-1] == length and value.shape[-2] in (1, batch)


def _sliced_mask(mask: Any, rows: slice, columns: slice, window: int | None) -> Any:
    if isinstance(mask, Mapping):
        widths = {name: window if "sliding" in name else None for name in mask}
        return {name: _sliced_mask(part, rows, columns, widths[name]) for name, part in mask.items()}
    if not isinstance(mask, Tensor):
        return mask
    if mask.dim() == 2:
        return mask[:, columns]
    part = mask[..., rows, columns]
    return part if window is None else part[..., -window:]
