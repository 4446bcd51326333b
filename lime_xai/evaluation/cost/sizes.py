"""Sizes of a model and a prompt that decide how much memory an answer takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from lime_xai.decoding.policy import Policy
from lime_xai.model.cache import is_recurrent
from lime_xai.policies.contrast import Contrast
from lime_xai.policies.edit import Edit
from lime_xai.policies.reweight import Reweight

_NAMES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
_HEADS = ("num_key_value_heads", "head_dim")


@dataclass(frozen=True)
class Sizes:
    """Sizes of a decoder, and positions of an answer.

    Attributes
    ----------
    hidden, inner, layers, heads, shared, head, vocabulary : int
        Width, width of the MLP, layers, query heads, key/value heads, channels of a head, entries of the vocabulary.
    rows, length : int
        Rows of the batch, and positions of prompt and answer together.
    """

    hidden: int
    inner: int
    layers: int
    heads: int
    shared: int
    head: int
    vocabulary: int
    rows: int
    length: int

    @classmethod
    def of(cls, model: PreTrainedModel, inputs: Mapping[str, Any], tokens: int) -> Sizes:
        """Read the sizes off a model and what its processor returned.

        Raises
        ------
        ValueError
            For a decoder with recurrent layers or experts, with layers of different sizes, or without one of the sizes
            in its config.
        """
        config: Any = model.config.get_text_config()
        reason = _unknown(config)
        if reason is not None:
            raise ValueError(
                f"The memory of {type(model).__name__} is not estimated: {reason}; estimates are for decoders with "
                "attention and one MLP in each layer."
            )
        hidden, inner, layers, heads, vocabulary = (int(getattr(config, name)) for name in _NAMES)
        shared = getattr(config, "num_key_value_heads", None) or heads
        head = getattr(config, "head_dim", None) or hidden // heads
        rows, length = _positions(inputs)
        return cls(hidden, inner, layers, heads, shared, head, vocabulary, rows, length + tokens)

    @property
    def cache(self) -> int:
        """Numbers in the KV cache."""
        return 2 * self.rows * self.layers * self.shared * self.head * self.length

    def features(self) -> dict[str, int]:
        """Return how many numbers tensors hold of which an answer keeps several, by name."""
        positions = self.rows * self.length
        return {
            "cache": self.cache,
            "expanded": 2 * positions * self.layers * self.heads * self.head,
            "scores": positions * self.layers * self.heads,
            "states": positions * self.layers * self.hidden,
            "inner": positions * self.layers * self.inner,
            "squares": positions * self.layers * self.heads * self.length,
            "one layer": positions * (self.hidden + self.inner),
            "one square": positions * self.heads * self.length,
            "logits": self.rows * self.vocabulary,
        }


def _unknown(config: Any) -> str | None:
    """Return why no memory is estimated for the config of a decoder, or None."""
    if is_recurrent(config):
        return "it has layers with a recurrent state"
    # transformers raises an error for an attribute of the whole config that single layers have for themselves.
    single = getattr(config, "per_layer_attributes", None) or ()
    varying = [name for name in (*_NAMES, *_HEADS, *_EXPERTS) if name in single]
    if varying:
        return f"its layers have different sizes ({', '.join(varying)})"
    experts = [name for name in _EXPERTS if getattr(config, name, 0)]
    if experts:
        return f"it has experts ({experts[0]})"
    missing = [name for name in _NAMES if not isinstance(getattr(config, name, None), int)]
    return f"its config has no number {' and no '.join(missing)}" if missing else None


def _positions(inputs: Mapping[str, Any]) -> tuple[int, int]:
    """Return rows and positions of a prompt.

    Raises
    ------
    TypeError
        If ``inputs`` is no mapping.
    ValueError
        For a prompt without positions.
    """
    if not isinstance(inputs, Mapping):
        raise TypeError(f"inputs is {type(inputs).__name__}; expected what a processor returns, a mapping of tensors.")
    given = inputs.get("input_ids", inputs.get("inputs_embeds"))
    wanted = 3 if "input_ids" not in inputs else 2
    if not isinstance(given, torch.Tensor) or given.dim() != wanted or not given.numel():
        found = tuple(given.shape) if isinstance(given, torch.Tensor) else type(given).__name__
        raise ValueError(
            f"inputs has input_ids or inputs_embeds of {found}; expected [batch, tokens] or [batch, tokens, channels], "
            "none of them zero."
        )
    return int(given.shape[0]), int(given.shape[1])


GENERATED = ("cache", "one layer", "one square", "logits")
"""Features of an answer without a graph."""

CACHED = ("cache", "expanded", "scores", "one layer", "logits")
"""Features of a graph of one token over the cache."""

WHOLE = ("cache", "squares", "states", "inner", "one layer", "one square", "logits")
"""Features of a graph of the whole sequence."""


def kind_of(policy: Policy | None) -> tuple[str, tuple[str, ...]]:
    """Return the kind of a policy, by which its memory is estimated, and the features of this kind.

    Raises
    ------
    ValueError
        For a policy whose memory is not known.
    """
    if policy is None or (isinstance(policy, Edit) and policy.idle):
        return "plain", GENERATED
    if isinstance(policy, Contrast):
        # a counterfactual has a cache of its own for a prompt of the same length, as the noisy branch has
        branch = "noise" if policy.branch == "counterfactual" else policy.branch
        return f"contrast, {branch}", GENERATED
    if isinstance(policy, Reweight) and policy.direction != "backward":
        return f"reweight, {policy.relevance}", GENERATED
    if isinstance(policy, Edit):
        if policy.forward_method is not None:
            return f"edit, stream, {policy.deltas}", CACHED
        return f"edit, {policy.scope}, {policy.deltas}", CACHED if policy.scope == "cache" else WHOLE
    raise ValueError(
        f"The memory of {type(policy).__name__} is not estimated; known are the plain model, Edit, Contrast, "
        "and Reweight in forward direction."
    )


def weight_bytes(model: PreTrainedModel) -> int:
    """Return the bytes of all parameters and buffers, each storage once."""
    tensors: list[torch.Tensor] = [*model.parameters(), *model.buffers()]
    storages = [one.untyped_storage() for one in tensors]
    return sum({one._cdata: one.nbytes() for one in storages}.values())
