"""More rows inside the calls that a model makes to its decoder, taken out again behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Generic, TypeVar

from torch import Tensor, nn
from transformers import Cache

from .cache import CACHE_NAME, CACHE_NAMES, given_cache
from .calls import DecoderCall
from .replay import Replayer

State = TypeVar("State")


class Widening(Generic[State]):
    """Lets a model's own calls of its decoder run with rows below those of the batch.

    Subclasses say in ``_enter`` what the rows are; ``inside`` widens a call, ``_narrow`` undoes it.

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

    def _enter(self, stack: ExitStack, state: State, call: DecoderCall, cache: Cache) -> tuple[DecoderCall, Cache]:
        """Return the widened call and the view of the cache that it updates; ``stack`` is closed behind the call."""
        raise NotImplementedError

    @contextmanager
    def inside(self, current: Callable[[], tuple[State, DecoderCall] | None]) -> Iterator[None]:
        """Context in which the model's own calls of its decoder are widened.

        Parameters
        ----------
        current : callable
            Asked at each call; None lets it run plain. ``finish`` must follow on the model's output.
        """

        def widen(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
            found = None if self.replayer.busy else current()
            if found is None:
                return None
            state, call = found
            self.close()
            self._cache = cache = given_cache(kwargs)
            self._open, self._rows = ExitStack(), call.embeddings.shape[0]
            wide, view = self._enter(self._open, state, call, cache)
            asked = {name: value for name, value in kwargs.items() if name not in (*CACHE_NAMES, "input_ids")}
            new = {**asked, **wide.kwargs, "inputs_embeds": wide.embeddings}
            return (), {**new, CACHE_NAME: view}

        def restore(module: nn.Module, args: Any, output: Any) -> Any:
            if self._open is not None and not self.replayer.busy and getattr(output, CACHE_NAME, None) is not None:
                setattr(output, CACHE_NAME, self._cache)
            return output

        decoder = self.replayer.decoder
        handles = [
            decoder.register_forward_pre_hook(widen, with_kwargs=True),
            decoder.register_forward_hook(restore),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self.close()

    def _narrow(self, output: Any, logits: Tensor) -> None:
        """Leave the output of a widened call as a plain call would have made it, with these logits."""
        rows, wide = self._rows, output.logits.shape[0]
        for name, value in list(output.items()):
            if not isinstance(value, Cache):
                output[name] = _first(value, rows, wide)
        output.logits = logits

    def close(self) -> None:
        """End a call that was begun, also one that failed."""
        if self._open is not None:
            self._open.close()
            self._open = None
        self._cache = None


def _first(value: Any, rows: int, wide: int) -> Any:
    """Return the first ``rows`` rows of every tensor that has ``wide``, without a graph."""
    if isinstance(value, Tensor):
        return (value[:rows] if value.dim() and value.shape[0] == wide else value).detach()
    if isinstance(value, tuple | list):
        return type(value)(_first(item, rows, wide) for item in value)
    return value
