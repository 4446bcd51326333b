"""Excluding implausible tokens, after the processors of ``generate`` that ban tokens."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList
from transformers.generation import logits_process


def plausible(
    scores: Tensor, plain: Tensor, fraction: float, keep_total: bool = False, before: Tensor | None = None
) -> Tensor:
    r"""Exclude tokens that the plain model finds far less probable than its best allowed token.

    Token :math:`t` stays if :math:`p_t \ge f \max_{a \in A} p_a`, where :math:`p` are the plain model's probabilities
    after what processors added (``favoured``), and :math:`A` holds the tokens whose score is not minus infinity. At
    least the best allowed token stays.

    Parameters
    ----------
    scores : Tensor
        ``[B, V]``: logits or log-probabilities; minus infinity on tokens that are not allowed.
    plain : Tensor
        ``[B, V]``: the model's own logits.
    fraction : float
        ``f``, at least 0 and less than 1; 0 excludes nothing.
    keep_total : bool
        Divide the probability of excluded tokens among those that stay. A beam search compares the scores of different
        beams, which then does not depend on what the mask excluded.
    before : Tensor, optional
        ``[B, V]``: the scores before any processor; without it, processors added nothing.

    Returns
    -------
    Tensor
        ``[B, V]``: minus infinity on tokens that are excluded or not allowed.
    """
    if fraction == 0:
        return scores
    allowed = scores > float("-inf")
    own = plain.to(scores.device, torch.promote_types(plain.dtype, torch.float32))
    if before is not None:
        own = own + favoured(scores, before)
    own = own.masked_fill(~allowed, float("-inf"))
    # where nothing is allowed the difference is NaN, and nothing is kept
    kept = allowed & (own - own.amax(-1, keepdim=True) >= math.log(fraction))
    result = scores.masked_fill(~kept, float("-inf"))
    if keep_total:
        result = result + (scores.logsumexp(-1, keepdim=True) - result.logsumexp(-1, keepdim=True)).nan_to_num()
    return result


def favoured(scores: Tensor, before: Tensor) -> Tensor:
    """Return what processors added to single tokens: bans by a finite number, biases, penalties.

    What they added to most tokens of a row is subtracted: a normalisation adds one number to all. Where most tokens
    got different numbers, scores were rescaled (a temperature, guidance), which says nothing about single tokens.

    Parameters
    ----------
    scores, before : Tensor
        ``[B, V]``: after and before the processors; tokens with a score of minus infinity are not counted.

    Returns
    -------
    Tensor
        ``[B, V]``, float32 or wider; zero on tokens that are not allowed, and in rows that were rescaled.
    """
    wide = torch.promote_types(scores.dtype, torch.float32)
    added = scores.to(wide) - before.to(wide)
    allowed = scores > float("-inf")
    usual = added.masked_fill(~allowed, float("nan")).nanmedian(-1, keepdim=True).values
    added = (added - usual).masked_fill(~allowed, 0.0)
    changed = added.abs() > _ROUNDING * (1 + before.to(wide).abs())
    rescaled = 2 * changed.sum(-1, keepdim=True) > allowed.sum(-1, keepdim=True)
    return torch.where(changed & ~rescaled, added, 0.0)


_ROUNDING = 1e-4
"""Relative size of what rounding adds to a score."""


class PlausibilityMask(LogitsProcessor):
    """The mask of one generation, as a processor of ``generate``.

    A mask inside the model's own logits would come before the processors that ban tokens, and both together could
    exclude every token.

    Attributes
    ----------
    plain : Tensor or None
        ``[B, V]``: the model's own logits of the step; None before the first.
    before : Tensor or None
        ``[B, V]``: the scores of the step before any processor; None if there is no processor before the mask.
    fraction : float
        As in ``plausible``.
    beams : bool
        Whether scores of different beams are compared.
    calls : int
        How often it was called: once per token.
    """

    def __init__(self, fraction: float, beams: bool) -> None:
        self.plain: Tensor | None = None
        self.before: Tensor | None = None
        self.fraction, self.beams, self.calls = fraction, beams, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores ``[B, V]`` with implausible tokens excluded."""
        self.calls += 1
        if self.plain is None:
            return scores
        return plausible(scores, self.plain, self.fraction, self.beams, self.before)


class _Before(LogitsProcessor):
    """Remember scores for the mask before other processors change them, which they may do in place."""

    def __init__(self, mask: PlausibilityMask) -> None:
        self.mask = mask

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.mask.before = scores.clone()
        return scores


_LAST = ("WatermarkLogitsProcessor", "SynthIDTextWatermarkLogitsProcessor", "LogitNormalization")

_NARROWING = tuple(
    getattr(logits_process, name) for name in dir(logits_process) if name.endswith("LogitsWarper") or name in _LAST
)
"""Processors of transformers that choose among the allowed tokens, or come last; each keeps at least one token."""


def with_mask(processors: LogitsProcessorList | None, mask: PlausibilityMask) -> LogitsProcessorList:
    """Return processors with the mask after all that ban tokens, and before those that narrow the choice.

    Temperature, top-k and top-p then act on plausible tokens only. If there are processors before the mask, the scores
    are remembered before the first of them.

    Parameters
    ----------
    processors : LogitsProcessorList or None
        As ``generate`` prepared them.
    mask : PlausibilityMask
        Of the generation.
    """
    found = list(processors or ())
    place = len(found)
    while place and isinstance(found[place - 1], _NARROWING):
        place -= 1
    first = [_Before(mask), *found[:place]] if place else []
    return LogitsProcessorList([*first, mask, *found[place:]])
