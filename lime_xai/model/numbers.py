"""Checks of computed numbers: logits, relevance, and what policies make of them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

_NOT_FINITE = (
    "The policies' {}, although the model's logits are finite. Their settings are too large for this model, or a "
    "gradient overflowed in half precision: lower learning_rate or strength, or use bfloat16 or float32."
)

_ALL_EQUAL = (
    "Under the policies all logits of a row are the same number: values inside the decoder have overflowed. Take "
    "smaller settings (gain, learning_rate, strength)."
)


def check_finite(logits: Tensor) -> None:
    """Refuse NaN or infinite logits.

    Raises
    ------
    FloatingPointError
        Naming the rows.
    """
    finite = torch.isfinite(logits).all(-1)
    if not bool(finite.all()):
        rows = (~finite).nonzero().flatten().tolist()
        raise FloatingPointError(
            f"The model's logits are NaN or infinite in rows {rows}; check the inputs, or use bfloat16 or float32."
        )


def check_relevance(relevance: Tensor, what: str) -> None:
    """Refuse NaN or infinite relevance of finite logits.

    Raises
    ------
    FloatingPointError
        Naming what was computed.
    """
    if not bool(torch.isfinite(relevance).all()):
        raise FloatingPointError(
            f"The relevance by {what} is NaN or infinite although the logits are finite: a gradient overflowed on its "
            "way back. Use bfloat16 or float32."
        )


class FiniteWatch:
    """Checks numbers of a generation without a device synchronisation at every token."""

    def __init__(self) -> None:
        self._good: dict[str, Tensor] = {}

    def note(self, logits: Tensor, first: bool) -> None:
        """Check the model's logits ``[B, V]``: at once for the first token and on the CPU, otherwise at the end.

        Raises
        ------
        FloatingPointError
            If some are NaN or infinite.
        """
        if first or logits.device.type == "cpu":
            check_finite(logits)
        else:
            self._keep("The model's logits became NaN or infinite while decoding; try bfloat16.", logits.isfinite())

    def note_steered(self, logits: Tensor, others: Iterable[Tensor | None], first: bool) -> None:
        """Check what the policies made of finite logits, and other numbers that they recorded.

        Parameters
        ----------
        logits : Tensor
            ``[B, V]``; minus infinity excludes a token, one per row must remain.
        others : iterable of Tensor or None
            Losses and shares.
        first : bool
            Whether this is the first token.

        Raises
        ------
        FloatingPointError
            If logits are NaN or plus infinity, all logits of a row are minus infinity or the same number, or another
            number is not finite.
        """
        at_once = first or logits.device.type == "cpu"
        finite, usable = logits.isfinite(), ~logits.isnan() & (logits != float("inf"))
        self._keep(_NOT_FINITE.format("logits are NaN or infinite"), usable, at_once)
        self._keep("The policies excluded every token of a row.", finite.any(-1), at_once)
        # a normalisation makes zeros of values that overflow: logits are finite then, and the first token would be said
        high, low = (logits.masked_fill(~finite, bound) for bound in (-float("inf"), float("inf")))
        self._keep(_ALL_EQUAL, (high.amax(-1) > low.amin(-1)) | (finite.sum(-1) < 2), at_once)
        for value in others:
            if value is not None:
                self._keep(_NOT_FINITE.format("losses or shares are NaN or infinite"), value.isfinite(), at_once)

    def _keep(self, message: str, good: Tensor, at_once: bool = False) -> None:
        """Raise if something is not good: at once, or when ``check`` is called."""
        found = good.all()
        self._good[message] = self._good[message] & found if message in self._good else found
        if at_once:
            self.check()

    def check(self) -> None:
        """Raise for what was noted; called once more after the last token.

        Raises
        ------
        FloatingPointError
            Saying what was not finite.
        """
        for message, good in self._good.items():
            if not bool(good):
                raise FloatingPointError(message)
