"""The adjoint check: a stream is used on a model only if it agrees with backward passes there.

Forward mode computes ``J t``, a backward pass ``J^T u``; ``<u, J t> = <J^T u, t>`` must hold up to rounding. It fails
where the decoder computes something outside its modules that has no rule.
"""

from __future__ import annotations

import warnings
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from lime_rules import LRP_METHODS
from lime_rules.attempts import attempt
from lime_rules.operations import unseen_operations
from lime_rules.stream.adjoint import adjoint_gap
from lime_xai.model.decoder_call import DecoderCall
from lime_xai.model.exclusive import frozen_parameters
from lime_xai.model.replay import Replayer

from .contributions import RelevanceForm
from .engine import StreamEngine

SAMPLED_TOKENS = 256
_WARNED: WeakKeyDictionary[PreTrainedModel, set[str]] = WeakKeyDictionary()
_GAPS: WeakKeyDictionary[PreTrainedModel, dict[str, float]] = WeakKeyDictionary()


def tolerance(dtype: torch.dtype) -> float:
    """Return the largest gap that rounding explains: 1e-4 in float32, some last places in half precision."""
    return max(1e-4, 8 * torch.finfo(dtype).eps)


def _random_embeddings(replayer: Replayer) -> Tensor:
    """Return two positions of noise, ``[1, 2, d]``, as large as embeddings of tokens, some of which are zero."""
    table: Any = replayer.decoder.get_input_embeddings()
    ids = torch.arange(min(table.num_embeddings, SAMPLED_TOKENS), device=table.weight.device)
    with torch.no_grad():
        sample = table(ids).float()
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 2, sample.shape[-1], generator=generator, dtype=torch.float32).to(sample)
    found: Tensor = noise * sample.pow(2).mean().sqrt()
    return found.to(replayer.model.dtype)


def adjoint_gap_of(engine: StreamEngine) -> float:
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
        gap = attempt(lambda: _measured_gap(engine), (RuntimeError, ValueError, TypeError))
        if isinstance(gap, Exception):
            raise NotImplementedError(
                f"The relevance stream does not run through {type(replayer.decoder).__name__}: {gap}"
            ) from gap
        known[method] = gap
    return known[method]


def _measured_gap(engine: StreamEngine) -> float:
    replayer = engine.replayer
    with torch.inference_mode(False), replayer.suspended(), frozen_parameters(replayer.model), engine.attached():
        gap = adjoint_gap(engine.stream, _random_embeddings(replayer))
        _decode(engine)
    return gap


def _decode(engine: StreamEngine) -> None:
    """Decode a second token over a cache: a model may change cached keys and values in a way that no rule covers."""
    embeddings = engine.replayer.neutral_embeddings(1)
    state, cache = (
        engine.start(torch.ones(1, 1, 1, device=embeddings.device)),
        DynamicCache(config=engine.replayer.config),
    )
    with torch.no_grad():
        engine.run(state, DecoderCall(embeddings, {}), cache)
        state.grow()
        engine.run(state, DecoderCall(embeddings, {}), cache)


def check_adjoint(engine: StreamEngine) -> None:
    """Refuse a model on which the stream and backward passes disagree (the adjoint check).

    Parameters
    ----------
    engine : StreamEngine
        Not attached.

    Raises
    ------
    NotImplementedError
        With the gap: the decoder computes something inline that no rule covers.
    """
    gap, allowed = adjoint_gap_of(engine), tolerance(engine.replayer.model.dtype)
    if not gap <= allowed:
        raise NotImplementedError(
            f"The relevance stream of {type(engine.replayer.decoder).__name__} disagrees with backward passes by "
            f"{gap:.1e} (allowed {allowed:.1e}): it computes something outside its modules that no rule covers"
            f"{_operations_named(engine.replayer)}. Use relevance by backward passes instead."
        )


def _operations_named(replayer: Replayer) -> str:
    with replayer.suspended():
        found = unseen_operations(replayer.decoder, replayer.neutral_embeddings())
    return "".join(f"; {one.name} in {one.module}" for one in found[:3])


def verified_engine(replayer: Replayer, form: RelevanceForm, method: str = "attnlrp") -> StreamEngine:
    """Return the stream engine of a model that passes the adjoint check.

    Parameters
    ----------
    replayer : Replayer
        Of the model.
    form : {"direct", "full"}
        As in ``StreamEngine``.
    method : str
        LRP composite.

    Raises
    ------
    NotImplementedError
        If a module has no JVP, or as ``check_adjoint``.
    """
    engine = StreamEngine(replayer, form, LRP_METHODS[method]())
    check_adjoint(engine)
    return engine


def warn_backward(model: PreTrainedModel, what: str, reason: NotImplementedError) -> None:
    """Warn, once per model and task, that double backward passes replace the stream.

    Parameters
    ----------
    model : PreTrainedModel
        The model.
    what : str
        The task ("Editing").
    reason : NotImplementedError
        Why the stream cannot be used.
    """
    warned = _WARNED.setdefault(model, set())
    if what not in warned:
        warned.add(what)
        warnings.warn(f"{what} uses double backward passes, which are several times slower. {reason}", stacklevel=2)
