"""Recording the calls that a model makes to its decoder, and repeating them with other embeddings or caches.

What a family computes before its decoder (encoding images, merging embeddings, positions and masks) is recorded once.
What it computes after its decoder (head, scaling, capping of logits) runs unchanged in every replay. Therefore no code
here depends on a family.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache, DynamicCache, PreTrainedConfig, PreTrainedModel

from lime_rules.structure import is_attention

from .arguments import unwrapping
from .cache import CACHE_NAME, CACHE_NAMES, detach_inference, without_last
from .decoder_call import DEEP_FEATURES, DecoderCall
from .modalities import marker_ids, placeholder_ids

_DROPPED = (
    "input_ids",
    "inputs_embeds",
    *CACHE_NAMES,
    "use_cache",
    "output_attentions",
    "logits_to_keep",
)


class StopForward(Exception):  # noqa: N818 - it ends a forward pass whose first decoder call was recorded
    """Raised in the decoder's pre-hook to end a forward pass before the decoder runs."""


def decoder_of(model: PreTrainedModel) -> PreTrainedModel:
    """Return the text decoder of a model.

    Parameters
    ----------
    model : PreTrainedModel
        A decoder-only (multimodal) model.

    Returns
    -------
    PreTrainedModel

    Raises
    ------
    ValueError
        If there is none, or the model is an encoder-decoder.
    """
    if not isinstance(model, PreTrainedModel):
        raise ValueError(f"Expected a transformers PreTrainedModel, found {type(model).__name__}.{unwrapping(model)}")
    if getattr(model.config, "is_encoder_decoder", False):
        raise ValueError(f"{type(model).__name__} is an encoder-decoder; only decoder-only models are supported.")
    decoder = model.get_decoder()  # type: ignore[no-untyped-call]
    if not isinstance(decoder, PreTrainedModel) or decoder is model:
        raise ValueError(f"{type(model).__name__} has no text decoder of its own (get_decoder()).")
    check = getattr(type(decoder), "_can_set_attn_implementation", None)
    if (check is not None and not check()) or not any(is_attention(module) for module in decoder.modules()):
        raise ValueError(
            f"The attention of {type(decoder).__name__} cannot be switched: it does not use transformers' "
            "AttentionInterface."
        )
    return decoder


def generates_elsewhere(model: PreTrainedModel) -> str:
    """Return the message for a model whose ``generate`` does not call its own forward pass."""
    return (
        f"{type(model).__name__}.generate does not call the model's own forward pass: it generates with a part of the "
        "model. Steering and attribution work on models whose generate is that of transformers' GenerationMixin."
    )


def _is_unknown_feature(name: str, value: Any) -> bool:
    """Whether an argument of the decoder holds deep visual features in another form than ``DecoderCall`` knows."""
    known = name == DEEP_FEATURES and isinstance(value, list)
    return "deepstack" in name and value is not None and not known


class Replayer:
    """Records decoder calls of one model and repeats them.

    Parameters
    ----------
    model : PreTrainedModel
        The top-level model.

    Attributes
    ----------
    busy : bool
        Whether a replay is running in this thread; the hooks of this package on the model do nothing then.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.decoder = decoder_of(model)
        self._in_thread = threading.local()
        self._placeholders = frozenset(placeholder_ids(model.config).values())
        self._accepted = inspect.signature(type(model).forward).parameters
        self._signature = inspect.signature(type(self.decoder).forward)
        config = self.decoder.config
        known = self._placeholders | marker_ids(model.config)
        self.neutral = next(index for index in range(config.get_text_config().vocab_size) if index not in known)

    @property
    def busy(self) -> bool:
        """See above."""
        return getattr(self._in_thread, "busy", False)

    @busy.setter
    def busy(self, value: bool) -> None:
        self._in_thread.busy = value

    @property
    def config(self) -> PreTrainedConfig:
        """The decoder's config, which gives cache layers their kinds."""
        config: PreTrainedConfig = self.decoder.config
        return config

    def neutral_embeddings(self, count: int = 2) -> Tensor:
        """Return the embeddings ``[1, count, d]`` of a token that is neither placeholder nor marker, for test runs."""
        table: Any = self.decoder.get_input_embeddings()
        with torch.inference_mode(False), torch.no_grad():
            found: Tensor = table(torch.full((1, count), self.neutral, device=table.weight.device))
        return found

    @property
    def window(self) -> int | None:
        """Width of the decoder's sliding layers, if it has any."""
        value = getattr(self.decoder.config.get_text_config(), "sliding_window", None)
        return value if isinstance(value, int) else None

    @property
    def last_logits(self) -> dict[str, int]:
        """Keyword arguments that limit the model's logits to the last position; empty if it takes none."""
        return {"logits_to_keep": 1} if "logits_to_keep" in self._accepted else {}

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Context in which ``busy`` is set, so that the hooks of this package ignore calls of the model."""
        before, self.busy = self.busy, True
        try:
            yield
        finally:
            self.busy = before

    def named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a decoder call by name."""
        bound = self._signature.bind_partial(None, *args, **kwargs).arguments
        bound.pop(next(iter(self._signature.parameters)), None)
        return {**bound, **bound.pop("kwargs", {})}

    def describe(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> DecoderCall:
        """Turn what the decoder was called with into a ``DecoderCall``.

        Raises
        ------
        ValueError
            If the decoder merges the modalities itself, attends to them by cross-attention, or gets visual features in
            later layers in an unknown form: its input embeddings then do not hold all that was seen or heard.
        """
        call = self.named(args, kwargs)
        embeddings = call.get("inputs_embeds")
        strange = [name for name, value in call.items() if _is_unknown_feature(name, value)]
        if strange:
            raise ValueError(
                f"{type(self.decoder).__name__} is given visual features for later layers as {', '.join(strange)}, in "
                "a form that is not known here; their relevance would be missed."
            )
        if call.get("cross_attention_states") is not None:
            raise ValueError(
                f"{type(self.model).__name__} reads images or sounds by cross-attention; only merged embeddings work."
            )
        if embeddings is None:
            ids = call["input_ids"]
            if any(bool((ids == token).any()) for token in self._placeholders):
                raise ValueError(
                    f"{type(self.decoder).__name__} merges perceptual embeddings inside the decoder; relevance of "
                    "single positions cannot be separated there."
                )
            with torch.no_grad():
                embeddings = self.decoder.get_input_embeddings()(ids)
        kept = {name: value for name, value in call.items() if name not in _DROPPED and value is not None}
        with torch.inference_mode(False):
            return DecoderCall(detach_inference(embeddings), detach_inference(kept))

    @contextmanager
    def recording(
        self, calls: list[DecoderCall], stop: bool = False, wanted: Callable[[], bool] = lambda: True
    ) -> Iterator[None]:
        """Append a ``DecoderCall`` to ``calls`` for every call of the decoder inside the context.

        Parameters
        ----------
        calls : list of DecoderCall
            Grows.
        stop : bool
            Raise ``StopForward`` at the first call, before the decoder runs.
        wanted : callable
            Whether a call is to be recorded; asked at each.

        Raises
        ------
        ValueError
            At the first call, if the decoder is not called by the model's own forward pass.
        """
        by_model = False

        def note(module: nn.Module, args: tuple[Any, ...]) -> None:
            nonlocal by_model
            by_model = True

        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if not self.busy and wanted():
                if not by_model:
                    raise ValueError(generates_elsewhere(self.model))
                calls.append(self.describe(args, kwargs))
                if stop:
                    raise StopForward

        handles = [
            self.model.register_forward_pre_hook(note),
            self.decoder.register_forward_pre_hook(hook, with_kwargs=True),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def past_of(self, prompt: DecoderCall, cache: Cache) -> Cache:
        """Return the cache of a prompt without its last position; where it cannot be sliced, the prompt runs again.

        Parameters
        ----------
        prompt : DecoderCall
            The call that filled ``cache``.
        cache : Cache
            Left alone.
        """
        past = without_last(cache)
        if past is None:
            past, short = DynamicCache(config=self.config), prompt.without_last()
            with torch.no_grad():
                self.run(short, short.embeddings, past)
        return past

    def run(self, call: DecoderCall, embeddings: Tensor, cache: Cache | None, keep: int = 1) -> Tensor:
        """Repeat a call through the model and return logits.

        Parameters
        ----------
        call : DecoderCall
            Gives masks, positions and the other inputs of the decoder.
        embeddings : Tensor
            ``[B, n, d]``, used instead of the recorded ones.
        cache : Cache or None
            Updated in place, as by any call.
        keep : int
            Logits are computed for the last ``keep`` positions only.

        Returns
        -------
        Tensor
            ``[B, keep, V]``.

        Raises
        ------
        NotImplementedError
            If the model's forward pass does not reach the decoder with token ids alone.
        """
        reached = False
        # Some decoders change their input in place, which autograd refuses for leaves.
        inputs = embeddings.clone() if embeddings.requires_grad and embeddings.is_leaf else embeddings

        def swap(module: nn.Module, args: Any, kwargs: Any) -> tuple[tuple[()], dict[str, Any]]:
            nonlocal reached
            reached = True
            new = {**call.kwargs, "inputs_embeds": inputs, "use_cache": cache is not None}
            return (), {**new, CACHE_NAME: cache}

        def shorten(module: nn.Module, args: Any, output: Any) -> Any:
            if hasattr(output, "last_hidden_state"):
                output.last_hidden_state = output.last_hidden_state[:, -keep:]
            return output

        rows = embeddings.shape[0]
        outer: dict[str, Any] = {"use_cache": False, "return_dict": True}
        position_ids = call.kwargs.get("position_ids")
        if isinstance(position_ids, Tensor) and "position_ids" in self._accepted:
            outer["position_ids"] = position_ids[..., :1]
        ids = torch.full((rows, 1), self.neutral, dtype=torch.long, device=embeddings.device)
        handles = [
            self.decoder.register_forward_pre_hook(swap, with_kwargs=True),
            self.decoder.register_forward_hook(shorten),
        ]
        try:
            with self.suspended():
                logits: Tensor = self.model(input_ids=ids, **outer).logits
        except (TypeError, ValueError) as error:
            if reached:
                raise
            raise NotImplementedError(
                f"{type(self.model).__name__} cannot be called with token ids alone ({error}), as is needed to repeat "
                "its decoder calls; it can be neither attributed nor steered."
            ) from error
        finally:
            for handle in handles:
                handle.remove()
        return logits[:, -keep:]
