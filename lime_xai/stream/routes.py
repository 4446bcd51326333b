"""Routes: logits and cached keys and values split by the groups of input positions that contribute to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedModel

from lime_rules import LRP_METHODS
from lime_xai.model.arguments import check_continuation
from lime_xai.model.cache import slots
from lime_xai.model.decoder_call import DecoderCall, merged
from lime_xai.model.exclusive import borrowed
from lime_xai.model.modalities import modality_masks
from lime_xai.model.numbers import check_finite, check_relevance
from lime_xai.model.positions import Perceptual
from lime_xai.model.prompt import Prompt, PromptLike, read_prompt
from lime_xai.model.records import Content
from lime_xai.values.checking import Known, check_arguments

from .adjoint_check import verified_engine
from .contributions import RelevanceForm
from .engine import StreamEngine, StreamState

TEXT = "text"


@dataclass(frozen=True, eq=False, repr=False)
class Routes(Content):
    """Logits and cached states by origin.

    Attributes
    ----------
    logits : Tensor
        ``[B, N, V]``: of the next token, at the last prompt position and at every token of the continuation but the
        last.
    contributions : dict of str to Tensor
        ``[B, N, V]`` per group: its contribution to each logit. Biases and the softmax account for the difference
        between the logits and the sum over all positions (conservation residual).
    cache : Cache
        Keys and values of all positions.
    states : dict of str to dict of int to (Tensor, Tensor)
        Per group and layer, its contributions to cached keys and values, ``[B, Hkv, T, D]`` each. Empty for the direct
        form, where cached slots are not split.
    """

    logits: Tensor
    contributions: dict[str, Tensor]
    cache: Cache
    states: dict[str, dict[int, tuple[Tensor, Tensor]]]

    def relevance(self, target: Tensor) -> dict[str, Tensor]:
        """Return the relevance of each group for given tokens, ``[B, N]``.

        Parameters
        ----------
        target : Tensor
            ``[B, N]`` token ids.
        """
        return {name: part.gather(-1, target[..., None])[..., 0] for name, part in self.contributions.items()}

    @property
    def residual(self) -> Tensor:
        """``[B, N, V]``: logits minus all contributions: biases, softmax, and positions of no group."""
        return self.logits - torch.stack(list(self.contributions.values())).sum(0)


def routes(
    model: PreTrainedModel,
    inputs: PromptLike,
    continuation: Tensor | None = None,
    *,
    groups: Mapping[str, Tensor] | None = None,
    relevance: RelevanceForm = "full",
    method: Annotated[str, Known(LRP_METHODS)] = "attnlrp",
    perceptual: Perceptual = None,
) -> Routes:
    r"""Split every logit, and every cached key and value, by the groups of input positions that contribute to it.

    1. ``generate`` runs once to record the decoder's arguments.
    2. One forward pass with a tangent per group follows (``lime_rules.Stream``).

    For a token ``v``, ``contributions[group][..., v]`` is the sum over the group of one backward pass from that logit,
    :math:`\sum_{i \in g} e_i \cdot \tilde\nabla_{e_i} z_v`, here for all ``v`` at once and without autograd.

    Parameters
    ----------
    model : PreTrainedModel
        A decoder-only multimodal model in eval mode.
    inputs : mapping or Prompt
        What a processor returns, batches padded on the left; or a prompt that was read before.
    continuation : Tensor, optional
        ``[B, N]`` tokens generated after the prompt. The last is only a target.
    groups : mapping of str to Tensor, optional
        ``[B, T]`` boolean masks of the prompt; by default one per modality, and ``text`` for all else. Generated
        tokens belong to a group named ``text``.
    relevance : {"full", "direct"}
        Contributions propagated from the input embeddings through all layers, or only what the last position reads
        directly from cached slots.
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
    FloatingPointError
        For NaN or infinite logits or contributions.
    TypeError
        For arguments of another type.
    NotImplementedError
        If the model fails the adjoint check; ``attribute`` uses backward passes and works.

    Examples
    --------
    >>> import lime_xai
    >>> from lime_xai.worlds import example
    >>> model, processor, inputs = example()
    >>> found = lime_xai.routes(model, inputs)
    >>> tuple(found.contributions["image"].shape)  # of the image, to each of the 77 logits
    (1, 1, 77)
    """
    check_arguments(routes, continuation=continuation, groups=groups, relevance=relevance, method=method)
    prompt = read_prompt(model, inputs, perceptual=perceptual)
    check_continuation(continuation, prompt.positions.input_ids.shape[0], prompt.vocabulary)
    masks = _group_masks(prompt, groups)
    with borrowed(model), torch.no_grad():
        calls = prompt.recording(continuation).calls
        engine = verified_engine(prompt.replayer, relevance, method)
        names = list(masks)
        start = torch.stack([masks[name] for name in names], 1)
        later = torch.tensor([name == TEXT for name in names], device=start.device).expand(start.shape[0], -1)
        with engine.attached():
            state = engine.start(start, later)
            # In the direct form the tangent of a slot is the slot itself, which must be cached: tokens run one by one.
            logits, contributions, cache = follow(engine, state, merged(calls) if relevance == "full" else calls)
    check_finite(logits.flatten(0, 1))
    check_relevance(contributions, "the relevance stream")
    return Routes(logits, dict(zip(names, contributions, strict=True)), cache, _states(state, names))


def _group_masks(prompt: Prompt, groups: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    positions = prompt.positions
    if groups is None:
        return {**positions.modalities, TEXT: positions.attended & ~positions.perceptual}
    if not groups:
        raise ValueError("groups is empty; name at least one group of positions, or leave it out.")
    found = modality_masks(prompt.model.config, positions.input_ids, groups)
    if not found:
        raise ValueError(f"The groups {sorted(groups)} hold no position; each needs some.")
    return {name: mask & positions.attended for name, mask in found.items()}


def follow(engine: StreamEngine, state: StreamState, calls: list[DecoderCall]) -> tuple[Tensor, Tensor, Cache]:
    """Run a prompt and its continuation with tangents.

    Returns
    -------
    logits, contributions : Tensor
        ``[B, N, V]`` and ``[G, B, N, V]``.
    cache : Cache
        Of all positions.
    """
    prompt, rest = calls[0], calls[1:]
    cache: Cache = DynamicCache(config=engine.replayer.config)
    if engine.form == "direct":
        engine.replayer.run(prompt, prompt.embeddings, cache)
        cache, prompt = engine.replayer.past_of(prompt, cache), prompt.last_position(engine.replayer.window)
    parts = [engine.run(state, prompt, cache)]
    for call in rest:
        for _ in range(call.length):
            state.grow()
        parts.append(engine.run(state, call, cache, keep=call.length))
    return torch.cat([p[0] for p in parts], 1), torch.cat([p[1] for p in parts], 2), cache


def _states(state: StreamState, names: list[str]) -> dict[str, dict[int, tuple[Tensor, Tensor]]]:
    if state.tangents is None:
        return {}
    found: dict[str, dict[int, tuple[Tensor, Tensor]]] = {name: {} for name in names}
    for layer, pair in slots(state.tangents).items():
        keys, values = (torch.unflatten(states, 0, (state.count, -1)) for states in pair)
        for index, name in enumerate(names):
            found[name][layer] = keys[index], values[index]
    return found
