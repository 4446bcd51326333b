"""What logits and cached keys and values are owed to: images, sounds, text, or any group of input positions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedModel

from .cache import slots
from .calls import DecoderCall, merged
from .checks import check_inputs, check_model
from .modalities import modality_masks, union
from .names import unknown_name
from .recording import record
from .replay import Replayer, frozen_parameters
from .streaming import STREAM_FORMS, Flow, StreamEngine, StreamForm
from .trust import trusted_engine

TEXT = "text"


@dataclass(frozen=True)
class Routes:
    """Logits and cached states by origin.

    Attributes
    ----------
    logits : Tensor
        ``[B, N, V]``: of the next token, at the last prompt position and behind every token of the continuation
        but the last.
    owed : dict of str to Tensor
        ``[B, N, V]`` per group: the part of each logit that the group is owed. What all positions together lack to the
        logits is absorbed by biases and the softmax (conservation residual).
    cache : Cache
        Keys and values of all positions.
    states : dict of str to dict of int to (Tensor, Tensor)
        Per group and layer, the parts of cached keys and values that the group is owed, ``[B, Hkv, T, D]`` each.
        Empty for slot relevance, where slots own themselves.
    """

    logits: Tensor
    owed: dict[str, Tensor]
    cache: Cache
    states: dict[str, dict[int, tuple[Tensor, Tensor]]]

    def relevance(self, target: Tensor) -> dict[str, Tensor]:
        """Return the relevance of each group for given tokens, ``[B, N]``.

        Parameters
        ----------
        target : Tensor
            ``[B, N]`` token ids.
        """
        return {name: part.gather(-1, target[..., None])[..., 0] for name, part in self.owed.items()}

    @property
    def residual(self) -> Tensor:
        """``[B, N, V]``: what the groups' parts lack to the logits: biases, softmax, and positions of no group."""
        return self.logits - torch.stack(list(self.owed.values())).sum(0)


def routes(
    model: PreTrainedModel,
    inputs: Mapping[str, Any],
    continuation: Tensor | None = None,
    *,
    groups: Mapping[str, Tensor] | None = None,
    relevance: StreamForm = "input",
    method: str = "attnlrp",
    perceptual: Tensor | Mapping[str, Tensor] | None = None,
) -> Routes:
    r"""Split every logit, and every cached key and value, by the groups of input positions they are owed to.

    ``generate`` runs once as it is, to record what the decoder is given; then one forward pass with a tangent per group
    follows (``lime_rules.Stream``). For a target ``v``, ``owed[group][..., v]`` is what one backward pass from that
    logit would sum over the group, :math:`\sum_{i \in g} e_i \cdot \tilde\nabla_{e_i} z_v`, here for all ``v`` at once
    and without autograd.

    Parameters
    ----------
    model : PreTrainedModel
        A decoder-only multimodal model in eval mode.
    inputs : mapping
        What a processor returns; batches are padded on the left.
    continuation : Tensor, optional
        ``[B, N]`` tokens generated after the prompt. The last is only a target.
    groups : mapping of str to Tensor, optional
        ``[B, T]`` boolean masks of the prompt; by default one per modality, and ``text`` for all else. A group named
        ``text`` owns generated tokens.
    relevance : {"input", "slot"}
        Exact parts of everything that input embeddings have led to, or the slots of the cache as owners of
        themselves: only what the last position reads directly.
    method : str
        LRP composite: ``attnlrp``, ``cplrp`` or ``gradient_input``.
    perceptual : Tensor or mapping, optional
        As in ``attribute``.

    Returns
    -------
    Routes

    Raises
    ------
    ValueError
        For bad input, before any compute.
    NotImplementedError
        If the stream cannot be trusted on the model; ``attribute`` works by backward passes.

    Examples
    --------
    .. code-block:: python

        found = lime_xai.routes(model, inputs)
        found.owed["image"][0, 0].topk(5)
    """
    if relevance not in STREAM_FORMS:
        raise unknown_name("relevance", relevance, STREAM_FORMS)
    check_model(model)
    ids = check_inputs(model, inputs)
    masks = _groups(model, inputs, ids, groups, perceptual)
    replayer = Replayer(model)
    engine = trusted_engine(replayer, relevance, method)
    with torch.inference_mode(False), torch.no_grad(), frozen_parameters(model):
        recording = record(replayer, inputs, ids, continuation)
        names = list(masks)
        start = torch.stack([masks[name] for name in names], 1)
        later = torch.tensor([name == TEXT for name in names], device=ids.device).expand(ids.shape[0], -1)
        with engine.attached():
            flow = engine.start(start, later)
            calls = merged(recording.calls) if relevance == "input" else recording.calls  # slots are owned one by one
            logits, owed, cache = follow(engine, flow, calls)
    return Routes(logits, dict(zip(names, owed, strict=True)), cache, _states(flow, names))


def _groups(
    model: PreTrainedModel,
    inputs: Mapping[str, Any],
    ids: Tensor,
    groups: Mapping[str, Tensor] | None,
    perceptual: Tensor | Mapping[str, Tensor] | None,
) -> dict[str, Tensor]:
    given = inputs.get("attention_mask")
    attended = torch.ones_like(ids).bool() if given is None else given.bool()
    if groups is None:
        found = modality_masks(model.config, ids, perceptual)
        return {**found, TEXT: attended & ~union(found, attended)}
    if not groups:
        raise ValueError("groups is empty; name at least one group of positions, or leave it out.")
    chosen = {name: mask & attended for name, mask in modality_masks(model.config, ids, groups).items()}
    if not chosen:
        raise ValueError(f"The groups {sorted(groups)} hold no position; each needs some.")
    return chosen


def follow(engine: StreamEngine, flow: Flow, calls: list[DecoderCall]) -> tuple[Tensor, Tensor, Cache]:
    """Run a prompt and what follows as a stream; return logits, parts and the cache."""
    prompt, rest = calls[0], calls[1:]
    cache: Cache = DynamicCache(config=engine.replayer.config)
    if engine.form == "slot":
        engine.replayer.run(prompt, prompt.embeddings, cache)
        cache, prompt = engine.replayer.past_of(prompt, cache), prompt.last_position(engine.replayer.window)
    parts = [engine.run(flow, prompt, cache)]
    for call in rest:
        for _ in range(call.length):
            flow.grow()
        parts.append(engine.run(flow, call, cache, keep=call.length))
    return torch.cat([p[0] for p in parts], 1), torch.cat([p[1] for p in parts], 2), cache


def _states(flow: Flow, names: list[str]) -> dict[str, dict[int, tuple[Tensor, Tensor]]]:
    if flow.tangents is None:
        return {}
    found: dict[str, dict[int, tuple[Tensor, Tensor]]] = {name: {} for name in names}
    for layer, pair in slots(flow.tangents).items():
        keys, values = (torch.unflatten(states, 0, (flow.count, -1)) for states in pair)
        for index, name in enumerate(names):
            found[name][layer] = keys[index], values[index]
    return found
