"""Progress of long runs: a bar with the remaining time on a terminal, else a line from time to time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from .screen import notices

PERIOD = 60.0
"""Seconds between two lines."""

_LONG = 3600.0
"""Seconds over which the bar estimates the speed: one answer may take minutes."""


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Context that gives a function to tell how many of how many are done; those told first were done before.

    Parameters
    ----------
    what : str
        That is counted, "answers".
    """
    if not notices.is_terminal:
        yield Lines(what)
        return
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=notices, speed_estimate_period=_LONG) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


class Lines:
    """Print the number that is done, with the remaining time: at the beginning, every minute, and at the end.

    Parameters
    ----------
    what : str
        That is counted.
    period : float
        Seconds between two lines.
    """

    def __init__(self, what: str, period: float = PERIOD) -> None:
        self._what, self._period = what, period
        self._begun: tuple[float, int] | None = None
        self._last = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Tell the number that is done, and of how many."""
        now = time.monotonic()
        first = self._begun is None
        begun = self._begun = self._begun or (now, done)
        if not first and done < total and now - self._last < self._period:
            return
        self._last = now
        new = done - begun[1]
        left = (now - begun[0]) / new * (total - done) if new else None
        remaining = "" if left is None or done == total else f", about {duration(left)} left"
        notices.print(f"{self._what}: {done} of {total}{remaining}", soft_wrap=True)


def duration(seconds: float) -> str:
    """Return seconds in a unit for people."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
