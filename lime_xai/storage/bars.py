"""Progress bars of transformers, which are not shown while models load."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from transformers.utils.logging import EmptyTqdm, set_tqdm_hook


@contextmanager
def no_bars() -> Iterator[None]:
    """Context in which transformers shows no progress bar, "Loading weights" for example.

    It does not change whether bars are enabled: a hook replaces them, and the hook that was set before is set again.
    Bars of downloads are those of huggingface_hub, and stay.
    """
    before = set_tqdm_hook(_no_bar)
    try:
        yield
    finally:
        set_tqdm_hook(before)


def _no_bar(make: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what iterates over the same and shows nothing; as ``set_tqdm_hook`` asks."""
    return EmptyTqdm(*args, **kwargs)  # type: ignore[no-untyped-call]
