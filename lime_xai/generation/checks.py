"""Checks of prompts, generation arguments and policies before any compute, and of the logits of a policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from lime_xai.decoding.policy import Policy
from lime_xai.model.cache import check_cache, given_cache
from lime_xai.model.checks import check_mask_length
from lime_xai.model.modalities import placeholder_ids
from lime_xai.model.positions import Positions


def check_perceptual(model: PreTrainedModel, positions: Positions) -> None:
    """Refuse to steer a prompt in which some row has no perceptual tokens.

    Raises
    ------
    ValueError
        If there are no perceptual tokens, or some rows have none.
    """
    if not positions.modalities:
        raise ValueError(
            f"No perceptual tokens in the prompt of {type(model).__name__}; steering needs an image, a video or audio. "
            f"Placeholders looked for: {placeholder_ids(model.config) or 'none in the config'}. "
            "Pass perceptual= for a model without placeholders."
        )
    empty = (~positions.perceptual.any(-1)).nonzero()[:, 0].tolist()
    if empty:
        raise ValueError(f"Rows {empty} of the batch have no perceptual tokens; steer them apart from the others.")


def check_modalities(policies: Sequence[Policy], positions: Positions) -> None:
    """Refuse a prompt that lacks what a policy names as its perceptual group, or that the policy itself refuses.

    Raises
    ------
    ValueError
        With the policy, what it names and what the prompt holds; from ``Policy.check_positions``.
    """
    held = ", ".join(positions.modalities)
    for policy in policies:
        for group in policy.needs.every_group:
            lacking = [name for name in group or () if name not in positions.modalities]
            who = f"{type(policy).__name__} has modalities={group}"
            if lacking:
                raise ValueError(
                    f"{who}, and the prompt holds {held}, but no {' and no '.join(lacking)}; name modalities of the "
                    "prompt, or none for all."
                )
            empty = (~positions.group(group).any(-1)).nonzero()[:, 0].tolist()
            if empty:
                raise ValueError(
                    f"{who}, of which rows {empty} of the batch hold nothing; steer them apart from the others."
                )
        policy.check_positions(positions)


_REFUSED_CACHES = (
    "static",
    "offloaded_static",
    "quantized",
    "offloaded",
    "sliding_window",
    "paged",
)


def check_generation(model: PreTrainedModel, kwargs: Mapping[str, Any]) -> None:
    """Refuse generation arguments under which a step does not decide exactly one token.

    Raises
    ------
    ValueError
        For assisted decoding, prompt lookup, disabled caches and caches that cannot be forked, and as
        ``check_mask_length``.
    """
    config = kwargs.get("generation_config") or model.generation_config

    def setting(name: str) -> Any:
        value = kwargs.get(name)
        return getattr(config, name, None) if value is None else value

    lookup = setting("prompt_lookup_num_tokens")
    # 0 and False leave it off; other objects, a tensor say, have no truth value of their own.
    if kwargs.get("assistant_model") is not None or not (lookup is None or (isinstance(lookup, int) and not lookup)):
        raise ValueError(
            "Assisted decoding and prompt lookup check several tokens at once; steering decides one token at a time. "
            "Drop assistant_model and prompt_lookup_num_tokens."
        )
    implementation = setting("cache_implementation")
    if implementation in _REFUSED_CACHES:
        raise ValueError(f"cache_implementation={implementation!r} cannot be forked; leave it unset (dynamic).")
    given = given_cache(kwargs)
    if given is not None:
        check_cache(given)
    if setting("use_cache") is False:
        raise ValueError("use_cache=False leaves no keys and values to steer; drop it.")
    check_mask_length(model, kwargs)


def check_policies(model: PreTrainedModel, policies: Sequence[Policy]) -> None:
    """Let every policy refuse the model, such as an edit of layers that it does not have.

    Raises
    ------
    ValueError
        From ``Policy.check_model``.
    """
    for policy in policies:
        policy.check_model(model)


def refusals(model: PreTrainedModel, policies: Mapping[str, Policy | None]) -> dict[str, str]:
    """Return, by name, why a policy cannot work on a model; those that can are left out, as is the model alone."""
    found = {}
    for name, policy in policies.items():
        try:
            check_policies(model, [] if policy is None else [policy])
        except ValueError as error:
            found[name] = str(error)
    return found


def check_counterfactual(policies: Sequence[Policy], given: bool) -> None:
    """Refuse a contrast with a counterfactual that is not given, and the reverse.

    Raises
    ------
    ValueError
        In either case.
    """
    kinds = [policy.needs.branch for policy in policies if not policy.idle]
    wanted = any(kind is not None and kind.name == "counterfactual" for kind in kinds)
    if wanted and not given:
        raise ValueError(
            "Contrast('counterfactual') compares with other pictures or sounds; give counterfactual=, what the "
            "processor returns for them with the same text."
        )
    if given and not wanted:
        raise ValueError(
            "counterfactual= is given, and no policy uses it; give Contrast('counterfactual'), or drop it."
        )


def check_logits(policy: Policy, logits: object, plain: Tensor) -> Tensor:
    """Return logits ``[B, V]`` of a policy, which may be of a class from outside this package.

    Raises
    ------
    TypeError
        For anything else.
    """
    if isinstance(logits, Tensor) and logits.shape == plain.shape:
        return logits
    found = f"a tensor of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
    raise TypeError(f"{type(policy).__name__}.step returned {found}; expected logits of shape {tuple(plain.shape)}.")
