"""Several generations, one token of each in turn, so that a noisy machine slows all of them alike.

Each generation runs in a thread of its own on a twin of the model, which shares the weights and nothing else, and hands
over to the next after every token. ``in_turn`` alternates whole generations on one model. It is for a GPU that nothing
else uses: there the host's launches limit a token, and threads and twins slow them unequally.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from transformers import PreTrainedModel

Generation = Callable[[PreTrainedModel, Any], None]
"""``(model, per_token)``: generates, and calls ``per_token()`` behind every token."""


@dataclass
class Times:
    """Seconds of one generation: until its first token, and of each token after that."""

    first: float = 0.0
    tokens: list[float] = field(default_factory=list)

    @property
    def whole(self) -> float:
        """Seconds of the whole answer."""
        return self.first + sum(self.tokens)


def twin_of(model: PreTrainedModel) -> PreTrainedModel:
    """Return a copy of a model that shares its parameters and buffers."""
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    twin: PreTrainedModel = copy.deepcopy(model, shared)
    return twin


class _Turns:
    """Lets one thread work at a time, in a fixed order, dropping those that are done."""

    def __init__(self, names: list[str]) -> None:
        self._waiting = {name: threading.Semaphore(0) for name in names}
        self._order = list(names)
        self._lock = threading.Lock()

    def start(self) -> None:
        self._waiting[self._order[0]].release()

    def wait(self, name: str) -> None:
        self._waiting[name].acquire()

    def hand_over(self, name: str, done: bool = False) -> None:
        with self._lock:
            place = self._order.index(name)
            following = self._order[(place + 1) % len(self._order)]
            if done:
                self._order.remove(name)
        if following != name or not done:
            self._waiting[following].release()


def alternate(
    model: PreTrainedModel,
    generations: Mapping[str, Generation],
    threads: int = 1,
    prepare: Callable[[str, PreTrainedModel], None] = lambda name, twin: None,
) -> dict[str, Times]:
    """Run generations side by side, a token of each in turn.

    Parameters
    ----------
    model : PreTrainedModel
        Whose twins generate.
    generations : mapping of str to callable
        By name.
    threads : int
        Of torch, per operation.
    prepare : callable
        Called with the name of each generation and its twin before any clock runs: for what is done once per model.

    Returns
    -------
    dict of str to Times
        Without the time spent waiting.
    """
    found = {name: Times() for name in generations}
    turns = _Turns(list(generations))
    errors: list[BaseException] = []

    twins = {name: twin_of(model) for name in generations}
    for name, twin in twins.items():
        prepare(name, twin)

    def work(name: str, generate: Generation) -> None:
        times, twin = found[name], twins[name]
        turns.wait(name)
        torch.set_num_threads(threads)
        start = [time.perf_counter()]

        def per_token() -> None:
            _synchronize(twin)
            spent = time.perf_counter() - start[0]
            if times.first:
                times.tokens.append(spent)
            else:
                times.first = spent
            turns.hand_over(name)
            turns.wait(name)
            start[0] = time.perf_counter()

        try:
            generate(twin, per_token)
        except BaseException as error:
            errors.append(error)
        finally:
            turns.hand_over(name, done=True)

    workers = [threading.Thread(target=work, args=item, daemon=True) for item in generations.items()]
    for worker in workers:
        worker.start()
    turns.start()
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]
    return found


def in_turn(
    model: PreTrainedModel,
    generations: Mapping[str, Generation],
    prepare: Callable[[str, PreTrainedModel], None] = lambda name, model: None,
) -> dict[str, Times]:
    """Run every generation once, then every one again, and time the tokens of the second time.

    Parameters
    ----------
    model : PreTrainedModel
        Generates.
    generations : mapping of str to callable
        By name.
    prepare : callable
        Called with the name of each generation and the model before any clock runs.

    Returns
    -------
    dict of str to Times
    """
    for name in generations:
        prepare(name, model)
    found: dict[str, Times] = {}
    for name, generate in track([*generations.items()] * 2, "timing", console=Console(stderr=True), transient=True):
        found[name] = timed(model, generate)
    return found


def timed(model: PreTrainedModel, generate: Generation) -> Times:
    """Return the times of one generation that runs alone."""
    marks: list[float] = []

    def per_token() -> None:
        _synchronize(model)
        marks.append(time.perf_counter())

    _synchronize(model)
    start = time.perf_counter()
    generate(model, per_token)
    return Times(marks[0] - start, [after - before for before, after in pairwise(marks)])


def _synchronize(model: PreTrainedModel) -> None:
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
