"""A prompt without some of its positions: they are taken out of the decoder's calls, nothing is put in their place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lime_xai.model.decoder_call import DEEP_FEATURES, VISUAL_MASK, DecoderCall
from lime_xai.model.modalities import modality_masks, spans

from .problem import Problem

FULL = "full_attention"
"""transformers' name of the mask of layers that see every earlier position."""


def check_deletable(problem: Problem) -> None:
    """Refuse a row whose decoder is given masks that are not known for a shorter sequence.

    Which slots are in the window of a layer changes with a deletion. For masks named "full" and "sliding" it is known
    how; a single mask says nothing of its window, masks of another name nothing of their rule.

    Raises
    ------
    ValueError
        Naming the masks.
    """
    masks, window = problem.calls[0].kwargs.get("attention_mask"), problem.replayer.window
    if isinstance(masks, Mapping):
        unknown = [name for name in masks if name != FULL and not ("sliding" in name and FULL in masks and window)]
    else:
        narrow = window is not None and len(problem.input_ids) > window
        unknown = ["attention_mask"] if isinstance(masks, Tensor) and masks.dim() > 2 and narrow else []
    if unknown:
        raise ValueError(
            f"Positions cannot be deleted here: {type(problem.replayer.model).__name__} gives its decoder the "
            f"ready-made masks {', '.join(unknown)} (sliding window {window}, {len(problem.input_ids)} positions), "
            "which are known for this length only. Use the replacement 'mean', 'blur' or 'zero'."
        )


def logits_without(problem: Problem, kept: Tensor) -> Tensor:
    """Return the logits ``[R, G, V]`` of a row from which positions were deleted.

    Rows with equally many positions run together: without padding, a prompt has the logits that it has alone.

    Parameters
    ----------
    problem : Problem
        The row.
    kept : Tensor
        ``[R, T]`` bool: positions that stay. Padding is left out.

    Raises
    ------
    ValueError
        As ``check_deletable``, and if a row loses its last position or a token of the answer.
    """
    check_deletable(problem)
    kept = kept & problem.attended
    if not bool(kept[:, problem.calls[0].length - 1 :].all()):
        raise ValueError(
            "The last position of the prompt, from which the answer is read, and the answer cannot be deleted; leave "
            "them out of the groups."
        )
    counts = kept.sum(-1)
    parts, places = [], []
    for count in torch.unique(counts):
        rows = (counts == count).nonzero()[:, 0]
        parts.append(problem.run(shortened(problem, kept[rows])))
        places.append(rows)
    return torch.cat(parts)[torch.cat(places).argsort()]


def shortened(problem: Problem, kept: Tensor) -> list[DecoderCall]:
    """Return the calls of ``R`` prompts that lack some positions, and of their answer.

    Masks lose the rows and columns of deleted positions; a sliding window then reaches further back. Position ids are
    rebuilt: what follows a deleted text token, or an image or sound that is deleted as a whole, moves up; an image or
    sound of which a part is deleted keeps the ids of what remains, on all axes, because they say where in the picture,
    or when, it is.

    Parameters
    ----------
    problem : Problem
        The row.
    kept : Tensor
        ``[R, T]`` bool, equally many attended positions in each row, all of the answer among them.
    """
    prompt, *rest = problem.calls
    length = prompt.length
    ids = prompt.kwargs.get("position_ids")
    moved, total = None, None
    if isinstance(ids, Tensor):
        steps = _closed(problem, kept[:, :length], ids.reshape(-1, length))
        total = steps.sum(-1, keepdim=True)
        moved = ids.reshape(-1, 1, length) - (steps.cumsum(-1) - steps)
    window = problem.replayer.window
    calls = [_prompt_without(prompt, kept[:, :length], moved, window)]
    seen = length
    for call in rest:
        seen += call.length
        calls.append(_answer_after(call, kept[:, :seen], total, window))
    return calls


def _closed(problem: Problem, kept: Tensor, ids: Tensor) -> Tensor:
    """Return by how much position ids ``[A, L]`` close up behind each deleted position, ``[A, R, L]``."""
    found = ids.new_zeros(ids.shape[0], *kept.shape)
    deleted = ~kept.to(ids.device)
    # Text that a user's mask calls perceptual is text here: what counts is what the model's ids stand for.
    tokens = problem.input_ids[None, : ids.shape[1]]
    masks = modality_masks(problem.replayer.model.config, tokens)
    for span in spans(masks, problem.attended[None, : ids.shape[1]])[0]:
        stop = min(span.stop, ids.shape[1] - 1)  # the last position stays
        if span.modality == "text":
            extent = ids[:, span.start + 1 : stop + 1] - ids[:, span.start : stop]
            found[..., span.start : stop] = extent[:, None] * deleted[:, span.start : stop]
        else:
            gone = deleted[:, span.start : span.stop].all(-1)
            found[..., span.stop - 1] = (ids[:, stop] - ids[:, span.start])[:, None] * gone
    return found


def _prompt_without(call: DecoderCall, kept: Tensor, position_ids: Tensor | None, window: int | None) -> DecoderCall:
    """Return the prompt's call with the kept positions ``[R, L]`` only; ``position_ids`` are ``[A, R, L]``."""
    places = _places(kept)
    kwargs: dict[str, Any] = {}
    for name, value in call.kwargs.items():
        if name == "attention_mask":
            kwargs[name] = _prompt_mask(value, places, window)
        elif name == "position_ids" and position_ids is not None:
            new = position_ids.gather(-1, places.expand(len(position_ids), -1, -1))
            kwargs[name] = new if value.dim() == 3 else new[0]
        elif name == DEEP_FEATURES and call.visual_mask is not None:
            kwargs[name] = [features[_visual_places(call.visual_mask[0], places)] for features in value]
        elif name == VISUAL_MASK and call.visual_mask is not None:
            kwargs[name] = call.visual_mask[0, places]
        elif isinstance(value, Tensor) and value.dim() > 1 and value.shape[:2] == (1, call.length):
            kwargs[name] = value[0, places]
        elif isinstance(value, Tensor) and value.shape == (call.length,):  # places in the cache
            kwargs[name] = value[: places.shape[1]]
        else:
            kwargs[name] = value
    return DecoderCall(call.embeddings[0, places], kwargs)


def _answer_after(call: DecoderCall, kept: Tensor, closed: Tensor | None, window: int | None) -> DecoderCall:
    """Return a call of the answer behind a shortened prompt; ``kept`` is ``[R, seen]``, ``closed`` ``[A, R, 1]``."""
    rows, seen = kept.shape
    places = _places(kept)
    kwargs: dict[str, Any] = {}
    for name, value in call.kwargs.items():
        if name == "attention_mask":
            kwargs[name] = _answer_mask(value, places, window)
        elif name == "position_ids" and closed is not None:
            ids = value.reshape(-1, 1, call.length) - closed
            kwargs[name] = ids if value.dim() == 3 else ids[0]
        elif isinstance(value, Tensor) and value.dim() > 1 and value.shape[0] == 1:
            kwargs[name] = value.expand(rows, *value.shape[1:])
        elif isinstance(value, Tensor) and value.shape == (call.length,):
            kwargs[name] = value - (seen - places.shape[1])
        else:
            kwargs[name] = value
    return DecoderCall(call.embeddings.expand(rows, -1, -1), kwargs)


def _places(kept: Tensor) -> Tensor:
    """Return where the kept positions are, ``[R, n]`` from ``[R, L]``."""
    return kept.nonzero()[:, 1].reshape(kept.shape[0], -1)


def _visual_places(visual: Tensor, places: Tensor) -> Tensor:
    """Return which deep visual features are kept, row by row, for positions ``[R, n]`` and their mask ``[L]``."""
    numbers = visual.cumsum(0) - 1
    found: Tensor = numbers[places][visual[places]]
    return found


def _prompt_mask(mask: Any, places: Tensor, window: int | None) -> Any:
    """Return the attention mask of a prompt for the positions ``[R, n]`` that are left; padding was left out."""
    if isinstance(mask, Mapping):
        parts = {name: _prompt_mask(part, places, window) for name, part in mask.items()}
        for name, part in parts.items():
            if "sliding" in name and isinstance(part, Tensor) and window is not None:
                parts[name] = _widened(part, parts[FULL], window)
        return parts
    if not isinstance(mask, Tensor):
        return mask
    if mask.dim() == 2:
        return mask.new_ones(places.shape)
    # [1, H, n, n] -> [H, R, n, n] -> [R, H, n, n]
    found: Tensor = mask[0][:, places[:, :, None], places[:, None, :]].transpose(0, 1)
    return found


def _widened(sliding: Tensor, full: Tensor | None, window: int) -> Tensor:
    """Return a sliding mask in which every position also sees what a deletion has brought into its window.

    ``full`` says what a position may see at any distance; None: everything before it.
    """
    order = torch.arange(sliding.shape[-1], device=sliding.device)
    distance = order[:, None] - order
    if full is None:
        full = torch.zeros_like(sliding)
        hidden = False if full.dtype == torch.bool else torch.finfo(full.dtype).min
        full = (~full if full.dtype == torch.bool else full).masked_fill(distance < 0, hidden)
    return torch.where(distance < window, full, sliding)


def _answer_mask(mask: Any, places: Tensor, window: int | None) -> Any:
    """Return the attention mask of a token of the answer, which sees all positions ``[R, n]``, or those in a window."""
    if isinstance(mask, Mapping):
        widths = {name: window if "sliding" in name else None for name in mask}
        return {name: _answer_mask(part, places[:, -(widths[name] or 0) :], None) for name, part in mask.items()}
    if not isinstance(mask, Tensor):
        return mask
    if mask.dim() == 2:
        return mask.new_ones(places.shape)
    shape = places.shape[0], *mask.shape[1:-1], places.shape[1]
    return mask.new_ones(shape) if mask.dtype == torch.bool else mask.new_zeros(shape)
