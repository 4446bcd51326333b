"""How much memory an answer will take, told before it is given."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import torch
from transformers import PreTrainedModel

from lime_xai.decoding.policy import Policy
from lime_xai.model.prompt import Prompt, PromptLike
from lime_xai.model.replay import decoder_of
from lime_xai.policies.edit import Edit
from lime_xai.policies.registry import PolicyLike, as_policies
from lime_xai.values.checking import Count, check_arguments

from .sizes import Sizes, kind_of, weight_bytes

_FACTORS = Path(__file__).parent / "memory_factors.json"


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of an answer at its peak, by part.

    Attributes
    ----------
    weights : int
        Parameters and buffers of the whole model: exact.
    cache : int
        Keys and values of the prompt and of the answer: exact for layers that keep all positions.
    optimiser : int
        Deltas of an edit, their gradients and Adam's two moments: exact.
    branch : int
        What a contrast takes beside the plain model.
    activations : int
        Everything else: what is kept for gradients, copies of the cache, the largest layer of the prompt.
    """

    weights: int
    cache: int
    optimiser: int
    branch: int
    activations: int

    @property
    def total(self) -> int:
        """Sum of all parts, in bytes."""
        return sum(getattr(self, field.name) for field in fields(self))


def estimate_memory(
    model: PreTrainedModel,
    inputs: PromptLike,
    policy: PolicyLike = None,
    *,
    max_new_tokens: Count = 64,
) -> MemoryEstimate:
    """Estimate the peak memory of an answer under a policy; nothing is computed.

    Weights, cache and optimiser are counted. The rest is a sum of sizes times factors, which were fitted on small
    random LLaVAs on the CPU, for each kind of policy and type of weights; ``benchmarks/memory.py`` compares them with
    measured peaks. Encoders of images and sounds are counted with their weights only. A GPU's
    kernels may need other workspace than the CPU's.

    Parameters
    ----------
    model : PreTrainedModel
        A decoder with attention and one MLP in each layer, in float32, bfloat16 or float16; it may be on the meta
        device.
    inputs : mapping or Prompt
        What the processor returned: ``input_ids`` or ``inputs_embeds`` of ``[B, T]`` positions; on any device.
    policy : Policy, str, list or None
        One policy; None is the model alone.
    max_new_tokens : int
        Of the answer.

    Returns
    -------
    MemoryEstimate

    Raises
    ------
    ValueError
        For a model, a type of weights or a policy whose memory is not known, and for several policies.

    Examples
    --------
    >>> import lime_xai
    >>> from lime_xai.worlds import example
    >>> model, processor, inputs = example()
    >>> plain, paper = (lime_xai.estimate_memory(model, inputs, policy) for policy in (None, "paper"))
    >>> plain.weights == paper.weights, plain.total < paper.total
    (True, True)
    """
    check_arguments(estimate_memory, max_new_tokens=max_new_tokens)
    decoder_of(model)
    given = inputs.inputs if isinstance(inputs, Prompt) else inputs
    named = () if policy is None else as_policies(policy)
    if len(named) > 1:
        raise ValueError(f"The memory of {len(named)} policies together is not estimated; give one.")
    one = named[0] if named else None
    sizes = Sizes.of(model, given, max_new_tokens)
    kind, names = kind_of(one)
    factors = _factors(model.dtype)
    features = sizes.features()

    def peak(kind: str) -> int:
        return int(sum(factor * features[name] for name, factor in factors[kind].items()))

    if kind not in factors:
        raise ValueError(
            f"The memory of this kind of policy ({kind}) is not estimated; known are {'; '.join(factors)}."
        )
    if set(names) != set(factors[kind]):
        raise RuntimeError(f"{_FACTORS.name} has other features of {kind!r} than the code; fit it anew.")
    cached = sizes.cache * model.dtype.itemsize
    optimiser = _optimiser(one, sizes)
    plain = max(0, peak("plain") - cached)
    if kind.startswith("contrast"):
        branch = max(0, peak(kind) - cached - plain)
        return MemoryEstimate(weight_bytes(model), cached, 0, branch, plain)
    rest = max(plain, peak(kind) - cached - optimiser)
    return MemoryEstimate(weight_bytes(model), cached, optimiser, 0, rest)


@cache
def _all_factors() -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = json.loads(_FACTORS.read_text(encoding="utf-8"))
    return found


def _factors(dtype: torch.dtype) -> dict[str, dict[str, float]]:
    """Return bytes per number of each feature, by kind of policy."""
    name = str(dtype).removeprefix("torch.")
    known = {**_all_factors(), "float16": _all_factors()["bfloat16"]}
    if name not in known:
        raise ValueError(f"Memory is not estimated for weights in {name}; known are {', '.join(known)}.")
    return known[name]


def _optimiser(policy: Policy | None, sizes: Sizes) -> int:
    """Return the bytes of deltas, gradients and moments, all of them float32."""
    if not isinstance(policy, Edit) or policy.idle:
        return 0
    parts = 2 if policy.edit == "both" else 1
    layers = sizes.layers if policy.layers is None else len(policy.layers)
    each = sizes.rows * sizes.shared
    each *= sizes.head * sizes.length if policy.deltas == "free" else 2
    return 4 * 4 * parts * layers * each
