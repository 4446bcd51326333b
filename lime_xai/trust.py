"""Streams are used on models on which they have been seen to agree with backward passes."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import PreTrainedModel

from lime_rules import LRP_METHODS
from lime_rules.probe import adjoint_gap

from .replay import Replayer, frozen_parameters
from .streaming import StreamEngine, StreamForm

_GAPS: WeakKeyDictionary[PreTrainedModel, dict[str, float]] = WeakKeyDictionary()
PROBED_POSITIONS = 2


def tolerance(dtype: torch.dtype) -> float:
    """Return the largest gap that rounding explains: 1e-4 in float32, a few units of the last place below it."""
    return max(1e-4, 8 * torch.finfo(dtype).eps)


def stream_gap(engine: StreamEngine, method: str = "attnlrp") -> float:
    """Return ``adjoint_gap`` of a model's stream, measured once per model and method.

    Parameters
    ----------
    engine : StreamEngine
        Not attached.
    method : str
        Name of its composite.
    """
    known = _GAPS.setdefault(engine.replayer.model, {})
    if method not in known:
        replayer = engine.replayer
        table: Any = replayer.decoder.get_input_embeddings()
        ids = torch.full((1, PROBED_POSITIONS), replayer.neutral, device=table.weight.device)
        with torch.inference_mode(False), torch.no_grad():
            embeddings = table(ids)
        with frozen_parameters(replayer.model), engine.attached():
            try:
                known[method] = adjoint_gap(engine.stream, embeddings)
            except (RuntimeError, ValueError, TypeError) as error:
                raise NotImplementedError(
                    f"The relevance stream does not run through {type(replayer.decoder).__name__}: {error}"
                ) from error
    return known[method]


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
        If a module has no forward rule, or the stream disagrees with backward passes: the decoder then computes
        something inline that no rule sees.
    """
    engine = StreamEngine(replayer, form, LRP_METHODS[method]())
    gap, allowed = stream_gap(engine, method), tolerance(engine.replayer.model.dtype)
    if not gap <= allowed:
        raise NotImplementedError(
            f"The relevance stream of {type(replayer.decoder).__name__} disagrees with backward passes by {gap:.1e} "
            f"(allowed {allowed:.1e}): it computes something outside its modules that no forward rule sees. Use "
            "relevance by backward passes instead."
        )
    return engine
