"""Which calls of a model belong to the steered generation that is running."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

from transformers import Cache, LogitsProcessorList, PreTrainedModel
from transformers.generation.configuration_utils import GenerationMode

from lime_xai.model.exclusive import memory_kept, replaced_method
from lime_xai.model.replay import Replayer, generates_elsewhere

from .checks import check_generation
from .plausibility import PlausibilityMask, with_mask


class Requests:
    """Tells the calls of a steered generation from all other calls of its model.

    1. ``generate`` of the model object is replaced while policies are on it. The outermost call is the steered
       generation; it is claimed by its thread.
    2. A call of ``forward`` belongs to it if it comes from that thread and has the cache of the generation, or is its
       first. Without a claim (a loop of the user's own) every call does.
    3. Other calls run as without steering: guidance by a second forward pass, a score that a logits processor or a
       streamer asks for, a request in another thread. They hold a lock, as steered calls do, so that calls of two
       threads take turns.

    Parameters
    ----------
    replayer : Replayer
        Of the model.
    fraction : float
        Of the plausibility mask of all policies (``Needs.plausibility``).
    owner : int or None
        The thread whose generation is steered, all others run unsteered (``steer``). None: every generation inside the
        context is, and two at a time are refused (``steering``).
    """

    def __init__(self, replayer: Replayer, fraction: float, owner: int | None) -> None:
        self.replayer, self._fraction, self._owner = replayer, fraction, owner
        self.mask: PlausibilityMask | None = None
        self.steps = 0
        self.inputs: Mapping[str, Any] = {}
        self._claimed: int | None = None
        self._nested = 0
        self._awaits_prompt = False
        self._lock = threading.RLock()
        self._calls = threading.local()

    @property
    def model(self) -> PreTrainedModel:
        """The model."""
        return self.replayer.model

    @contextmanager
    def attached(self, after: Callable[[], None]) -> Iterator[None]:
        """Context in which ``generate`` of the model object is claimed and its processors get the mask.

        Parameters
        ----------
        after : callable
            Called after every steered call of ``forward``, also after an exception of any kind.
        """

        def ending(call: Callable[..., Any]) -> Callable[..., Any]:
            @wraps(call)
            def ended(*args: Any, **kwargs: Any) -> Any:
                running = len(self._open)
                try:
                    return call(*args, **kwargs)
                finally:
                    while len(self._open) > running:
                        if self.in_steered_call:
                            after()
                        self.leave()

            return ended

        with (
            replaced_method(self.model, "generate", self._claiming),
            replaced_method(self.model, "_get_logits_processor", self._masking),
            # PyTorch runs no hook after a KeyboardInterrupt, so that the end of a call is seen around it.
            replaced_method(self.model, "_call_impl", ending),
        ):
            yield

    def _claiming(self, generate: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(generate)
        def claimed(*args: Any, **kwargs: Any) -> Any:
            if self._is_other_request():
                with self._other_request():
                    return generate(*args, **kwargs)
            check_generation(self.model, kwargs)
            self.inputs = kwargs
            with self.generation():
                return generate(*args, **kwargs)

        return claimed

    def _masking(self, prepare: Callable[..., LogitsProcessorList]) -> Callable[..., LogitsProcessorList]:
        @wraps(prepare)
        def prepared(*args: Any, **kwargs: Any) -> LogitsProcessorList:
            found = prepare(*args, **kwargs)
            config = kwargs.get("generation_config", args[0] if args else None)
            return found if self.is_other_call() else self.masked(found, config)

        return prepared

    def masked(self, processors: LogitsProcessorList | None, generation_config: Any) -> LogitsProcessorList:
        """Return processors with the mask of the claimed generation, made by this call."""
        if self._claimed is None:
            return LogitsProcessorList(processors or ())
        mode = generation_config.get_generation_mode()
        beams = mode in (GenerationMode.BEAM_SEARCH, GenerationMode.BEAM_SAMPLE)
        self.mask = PlausibilityMask(self._fraction, beams)
        return with_mask(processors, self.mask)

    @contextmanager
    def generation(self) -> Iterator[None]:
        """Context of one steered generation.

        Raises
        ------
        ValueError
            If another one is running, or if it ends without a step: the model generated elsewhere.
        RuntimeError
            If some tokens were decided without the policies.
        """
        with self._lock:
            if self._claimed is not None:
                raise ValueError(self._second())
            self._claimed, self._awaits_prompt, self.steps = threading.get_ident(), True, 0
        try:
            yield
            if not self.steps:
                raise ValueError(generates_elsewhere(self.model))
            if self.mask is not None and self.mask.calls != self.steps:
                raise RuntimeError(
                    f"generate decided {self.mask.calls} tokens, the policies {self.steps}: "
                    f"{type(self.model).__name__} continued with a cache that steering did not see."
                )
        finally:
            self._claimed, self.mask, self._awaits_prompt, self.inputs = None, None, False, {}

    def _is_other_request(self) -> bool:
        """Whether a call of ``generate`` is not the one to steer.

        Raises
        ------
        ValueError
            If two generations would have to be steered at a time.
        """
        thread = threading.get_ident()
        if self._owner is not None and thread != self._owner:
            return True
        if self._claimed is None:
            return False
        if self._owner is None:
            raise ValueError(self._second())
        return True

    def _second(self) -> str:
        return (
            f"A generation of this {type(self.model).__name__} is running inside steering(), and a second one begins; "
            "generate one after the other, or use steer(), beside which other requests run unsteered."
        )

    @contextmanager
    def _other_request(self) -> Iterator[None]:
        if threading.get_ident() != self._claimed:
            yield
            return
        self._nested += 1
        try:
            with memory_kept(self.model):
                yield
        finally:
            self._nested -= 1

    def is_other_call(self) -> bool:
        """Whether a call comes from another thread, or from a request inside the steered generation."""
        thread = threading.get_ident()
        if self._claimed is None:
            return self._owner is not None and thread != self._owner
        return thread != self._claimed or self._nested > 0

    def is_replay(self) -> bool:
        """Whether the model is called by this package itself, in the thread of the steered generation."""
        return self.replayer.busy and not self.is_other_call() and not any(self._open[-1:])

    @property
    def _open(self) -> list[bool]:
        """Calls of the model's forward that are running in this thread: whether each is another request's."""
        found: list[bool] = vars(self._calls).setdefault("open", [])
        return found

    def enter(self, cache: Cache | None, own: Cache | None) -> bool:
        """Begin a call of the model's forward; ``leave`` must follow, also after an exception.

        Parameters
        ----------
        cache : Cache or None
            Of the call.
        own : Cache or None
            Of the generation that is running.

        Returns
        -------
        bool
            Whether it belongs to the steered generation.
        """
        self._lock.acquire()
        other = self.is_other_call() or (self._claimed is not None and not self._awaits_prompt and cache is not own)
        if other and self._owner is None and self._claimed != threading.get_ident():
            self._lock.release()
            raise ValueError(
                f"This {type(self.model).__name__} generates inside steering(), and another thread calls it; use "
                "steer(), beside which other requests run unsteered."
            )
        self._open.append(other)
        if other:
            self.replayer.busy = True
        else:
            self._awaits_prompt = False
        return not other

    @property
    def in_steered_call(self) -> bool:
        """Whether the last call that this thread has begun belongs to the steered generation."""
        return bool(self._open) and not self._open[-1]

    def leave(self) -> None:
        """End the last call that this thread has begun; nothing if it has begun none."""
        if self._open:
            if self._open.pop():
                self.replayer.busy = False
            self._lock.release()
