"""Streams are used on models on which they have been seen to agree with backward passes."""

from __future__ import annotations

import warnings
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from lime_rules import LRP_METHODS
from lime_rules.operations import unseen_operations
from lime_rules.probe import adjoint_gap

from .calls import DecoderCall
from .replay import Replayer, frozen_parameters
from .streaming import StreamEngine, StreamForm

SAMPLED_TOKENS = 256
_WARNED: WeakKeyDictionary[PreTrainedModel, set[str]] = WeakKeyDictionary()
_GAPS: WeakKeyDictionary[PreTrainedModel, dict[str, float]] = WeakKeyDictionary()


def tolerance(dtype: torch.dtype) -> float:
    """Return the largest gap that rounding explains: 1e-4 in float32, a few units of the last place below it."""
    return max(1e-4, 8 * torch.finfo(dtype).eps)


def _random_embeddings(replayer: Replayer) -> Tensor:
    """Return two positions of noise, ``[1, 2, d]``, as large as embeddings of tokens, some of which are zero."""
    table: Any = replayer.decoder.get_input_embeddings()
    ids = torch.arange(min(table.num_embeddings, SAMPLED_TOKENS), device=table.weight.device)
    with torch.no_grad():
        sample = table(ids).float()
    noise = torch.randn(1, 2, sample.shape[-1], generator=torch.Generator().manual_seed(0)).to(sample)
    found: Tensor = noise * sample.pow(2).mean().sqrt()
    return found.to(replayer.model.dtype)


def stream_gap(engine: StreamEngine) -> float:
    """Return ``adjoint_gap`` of a model's stream, measured once per model, dtype and LRP method.

    Parameters
    ----------
    engine : StreamEngine
        Not attached.

    Raises
    ------
    NotImplementedError
        If the decoder does not run on embeddings alone.
    """
    replayer = engine.replayer
    method = f"{type(engine.stream.composite).__name__}, {replayer.model.dtype}"
    known = _GAPS.setdefault(replayer.model, {})
    if method not in known:
        try:
            with torch.inference_mode(False), replayer.alone(), frozen_parameters(replayer.model), engine.attached():
                gap = adjoint_gap(engine.stream, _random_embeddings(replayer))
                _decode(engine)
                known[method] = gap
        except (RuntimeError, ValueError, TypeError) as error:
            raise NotImplementedError(
                f"The relevance stream does not run through {type(replayer.decoder).__name__}: {error}"
            ) from error
    return known[method]


def _decode(engine: StreamEngine) -> None:
    """Decode a second token over a cache, where a model may do to keys and values what no rule sees."""
    embeddings = engine.replayer.neutral_embeddings(1)
    flow, cache = (
        engine.start(torch.ones(1, 1, 1, device=embeddings.device)),
        DynamicCache(config=engine.replayer.config),
    )
    with torch.no_grad():
        engine.run(flow, DecoderCall(embeddings, {}), cache)
        flow.grow()
        engine.run(flow, DecoderCall(embeddings, {}), cache)


def check_trust(engine: StreamEngine) -> None:
    """Refuse a model on which the stream and backward passes disagree.

    Parameters
    ----------
    engine : StreamEngine
        Not attached.

    Raises
    ------
    NotImplementedError
        With the gap: the decoder computes something inline that no rule sees.
    """
    gap, allowed = stream_gap(engine), tolerance(engine.replayer.model.dtype)
    if not gap <= allowed:
        raise NotImplementedError(
            f"The relevance stream of {type(engine.replayer.decoder).__name__} disagrees with backward passes by "
            f"{gap:.1e} (allowed {allowed:.1e}): it computes something outside its modules that no forward rule sees"
            f"{_culprits(engine.replayer)}. Use relevance by backward passes instead."
        )


def _culprits(replayer: Replayer) -> str:
    with replayer.alone():
        found = unseen_operations(replayer.decoder, replayer.neutral_embeddings())
    return "".join(f"; {one.name} in {one.module}" for one in found[:3])


def trusted_engine(replayer: Replayer, form: StreamForm, method: str = "attnlrp") -> StreamEngine:
    """Return the engine of a model whose stream can be trusted.

    Parameters
    ----------
    replayer : Replayer
        Of the model.
    form : {"slot", "input"}
        As in ``StreamEngine``.
    method : str
        LRP composite.

    Raises
    ------
    NotImplementedError
        If a module has no forward rule, or as ``check_trust``.
    """
    engine = StreamEngine(replayer, form, LRP_METHODS[method]())
    check_trust(engine)
    return engine


def warn_backward(model: PreTrainedModel, what: str, reason: NotImplementedError) -> None:
    """Warn, once per model and policy, that something works by double backward passes.

    Parameters
    ----------
    model : PreTrainedModel
        Whose stream cannot be used.
    what : str
        What is done instead of running it.
    reason : NotImplementedError
        Why it cannot be used.
    """
    said = _WARNED.setdefault(model, set())
    if what not in said:
        said.add(what)
        warnings.warn(f"{what} works by double backward passes, several times slower. {reason}", stacklevel=2)
