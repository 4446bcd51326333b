"""Extra batch rows inside the calls that a model makes to its decoder, removed again from the model's output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Generic, TypeVar

from torch import Tensor, nn
from transformers import Cache

from .cache import CACHE_NAME, CACHE_NAMES, given_cache
from .decoder_call import DecoderCall
from .replay import Replayer

State = TypeVar("State")


class ExtraRows(Generic[State]):
    """Base of what runs extra rows in the model's own decoder calls.

    Subclasses define ``_extend``, which returns the call with extra rows. One call of the model runs so:

    1. A pre-hook of the decoder calls ``current()``. If it returns a state, the call's arguments are replaced by those
       of the extended call; otherwise the call runs unchanged.
    2. The decoder runs. A hook puts the model's own cache object back into its output.
    3. The caller's hook on the model calls ``finish``, which takes the extra rows out of the output (``_strip``) and
       closes the call.
    4. If the call fails, ``close`` undoes what ``_extend`` switched on.

    Parameters
    ----------
    replayer : Replayer
        Of the model.
    """

    def __init__(self, replayer: Replayer) -> None:
        self.replayer = replayer
        self._open: ExitStack | None = None
        self._rows = 0
        self._cache: Cache | None = None

    def _extend(self, stack: ExitStack, state: State, call: DecoderCall, cache: Cache) -> tuple[DecoderCall, Cache]:
        """Return the call with extra rows, and the view of the cache that it updates.

        ``stack`` is closed after the call.
        """
        raise TypeError(f"{type(self).__name__} must define _extend().")

    @contextmanager
    def in_model_calls(self, current: Callable[[], tuple[State, DecoderCall] | None]) -> Iterator[None]:
        """Context in which the model's own calls of its decoder may have extra rows.

        Parameters
        ----------
        current : callable
            Called at each decoder call; returns the state and the recorded call, or None to let the call run
            unchanged. ``finish`` must follow with the model's output.
        """

        def extend(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
            found = None if self.replayer.busy else current()
            if found is None:
                return None
            state, call = found
            self.close()
            self._cache = cache = given_cache(kwargs)
            self._open, self._rows = ExitStack(), call.embeddings.shape[0]
            extended, view = self._extend(self._open, state, call, cache)
            others = {name: value for name, value in kwargs.items() if name not in (*CACHE_NAMES, "input_ids")}
            new = {**others, **extended.kwargs, "inputs_embeds": extended.embeddings}
            return (), {**new, CACHE_NAME: view}

        def restore(module: nn.Module, args: Any, output: Any) -> Any:
            # generate keeps the cache that it finds in the output; it must be its own object, not the view.
            if self._open is not None and not self.replayer.busy and getattr(output, CACHE_NAME, None) is not None:
                setattr(output, CACHE_NAME, self._cache)
            return output

        decoder = self.replayer.decoder
        handles = [
            decoder.register_forward_pre_hook(extend, with_kwargs=True),
            decoder.register_forward_hook(restore),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self.close()

    def _strip(self, output: Any, logits: Tensor) -> None:
        """Make the model's output that of a call without extra rows, with the given logits ``[B, n, V]``."""
        rows, extended = self._rows, output.logits.shape[0]
        for name, value in list(output.items()):
            if not isinstance(value, Cache):
                output[name] = _first_rows(value, rows, extended)
        output.logits = logits

    def close(self) -> None:
        """End an extended call, also one that failed."""
        if self._open is not None:
            self._open.close()
            self._open = None
        self._cache = None


def _first_rows(value: Any, rows: int, extended: int) -> Any:
    """Return the first ``rows`` rows of every tensor that has ``extended`` rows, without a graph."""
    if isinstance(value, Tensor):
        return (value[:rows] if value.dim() and value.shape[0] == extended else value).detach()
    if isinstance(value, tuple | list):
        return type(value)(_first_rows(item, rows, extended) for item in value)
    return value
