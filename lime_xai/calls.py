"""One call of a decoder as data, and how to cut and join such calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class DecoderCall:
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

    def _sliced(self, rows: slice, columns: slice, window: int | None) -> DecoderCall:
        batch, length = self.embeddings.shape[:2]
        kwargs = {}
        for name, value in self.kwargs.items():
            if name == "attention_mask":
                kwargs[name] = _sliced_mask(value, rows, columns, window)
            elif name == "position_ids" and isinstance(value, Tensor):
                kwargs[name] = value[..., rows]
            elif name in ("visual_pos_masks", "deepstack_visual_embeds"):
                kwargs[name] = self._visual(name, value, rows)
            elif isinstance(value, Tensor) and value.dim() > 1 and value.shape[:2] == (batch, length):
                kwargs[name] = value[:, rows]
            else:
                kwargs[name] = value
        return DecoderCall(self.embeddings[:, rows], kwargs)

    def _visual(self, name: str, value: Any, rows: slice) -> Any:
        mask = self.kwargs.get("visual_pos_masks")
        if rows == slice(-1, None) or not isinstance(mask, Tensor):
            return None if isinstance(mask, Tensor) else value
        return mask[:, rows] if name == "visual_pos_masks" else value


def merged(calls: list[DecoderCall]) -> list[DecoderCall]:
    """Join the one-token calls after a prompt into one, where their masks allow it.

    Two-dimensional masks (or none) leave the decoder to build its own, so that many tokens may enter at once;
    ready-made four-dimensional masks belong to their own step and stay apart.

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
