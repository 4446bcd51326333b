"""Steering: policies inside ``model.generate``."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel
from transformers.generation.configuration_utils import GenerationMode

from lime_xai.branches.counterfactual import Counterfactual, check_same_text
from lime_xai.decoding.policy import Policy
from lime_xai.decoding.trace import SteeringTrace
from lime_xai.model.checks import checked_replayer
from lime_xai.model.exclusive import exclusive, frozen_parameters, wait_for_running
from lime_xai.model.positions import Perceptual
from lime_xai.model.prompt import Prompt, PromptLike, read_prompt
from lime_xai.model.records import Content
from lime_xai.model.replay import Replayer
from lime_xai.policies.registry import PolicyLike, as_policies
from lime_xai.values.checking import check_arguments, shown

from .checks import check_counterfactual, check_generation, check_modalities, check_perceptual, check_policies
from .session import Session


@dataclass(frozen=True, eq=False, repr=False)
class SteeringOutput(Content):
    """What ``steer`` returns.

    Attributes
    ----------
    sequences : Tensor
        ``[B * num_return_sequences, T + new]``, as from ``generate``.
    trace : SteeringTrace
        One entry per generated token.
    generation : object
        Whatever ``generate`` returned: the sequences, or its output with ``return_dict_in_generate=True``.
    """

    sequences: Tensor
    trace: SteeringTrace
    generation: Any


@contextmanager
def steering(
    model: PreTrainedModel,
    policy: PolicyLike = None,
    *,
    perceptual: Perceptual = None,
    counterfactual: PromptLike | None = None,
) -> Iterator[SteeringTrace]:
    """Context in which every token that ``model.generate`` picks is decided under a policy.

    Hooks on the model edit the last position's logits of every step; sampling, beams, streamers, stopping and
    logits processors work as always. On the way out, also after an exception, the model is as it was.

    Parameters
    ----------
    model : PreTrainedModel
        A decoder-only multimodal model in eval mode.
    policy : Policy, str, or a list of these, optional
        By default ``Edit()``; a list is applied in order.
    perceptual : Tensor or mapping of str to Tensor, optional
        ``[B, T]`` mask of the prompt, for models without placeholder tokens.
    counterfactual : mapping or Prompt, optional
        As in ``steer``.

    Yields
    ------
    SteeringTrace
        Grows by one entry per generated token.

    Raises
    ------
    ValueError
        For a model that cannot be steered, an unknown policy, policies that cannot work together, a model that is being
        steered already, and, inside ``generate``, for prompts without perceptual tokens and caches that cannot be
        forked.

    Examples
    --------
    >>> import lime_xai
    >>> from lime_xai.worlds import example
    >>> model, processor, inputs = example()
    >>> with lime_xai.steering(model, "contrast") as trace:
    ...     ids = model.generate(**inputs, max_new_tokens=16, do_sample=False)
    >>> processor.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    'there is a heart , an anchor , a cloud .'
    """
    check_arguments(steering, perceptual=perceptual)
    policies = as_policies(policy)
    with _steered(checked_replayer(model), policies, perceptual=perceptual, counterfactual=counterfactual) as session:
        yield session.trace


@contextmanager
def _steered(
    replayer: Replayer,
    policies: Sequence[Policy],
    prompt: Prompt | None = None,
    perceptual: Perceptual = None,
    owner: int | None = None,
    counterfactual: PromptLike | None = None,
) -> Iterator[Session]:
    """Context in which policies decide tokens of a model: all, or those of one thread; the model has been checked."""
    model = replayer.model
    check_policies(model, policies)
    if prompt is not None:
        check_modalities(policies, prompt.positions)
    check_counterfactual(policies, given=counterfactual is not None)
    other: Counterfactual | None = None
    if counterfactual is not None:
        read = read_prompt(model, counterfactual, perceptual=perceptual)
        if prompt is not None:  # else the session compares it with the prompt of each generation
            check_same_text(read.positions, prompt.positions)
        # Encoded before the session: inside it every generate of the model is steered.
        other = Counterfactual.read(read)
    session = Session(replayer, policies, prompt, perceptual, owner, other)
    with exclusive(model, steered=True, open_ended=owner is None):
        with frozen_parameters(model), session.attached():
            wait_for_running(model)
            yield session
        session.finite.check()


def steer(
    model: PreTrainedModel,
    inputs: PromptLike,
    policy: PolicyLike = None,
    *,
    perceptual: Perceptual = None,
    counterfactual: PromptLike | None = None,
    **generate_kwargs: Any,
) -> SteeringOutput:
    """Generate under a policy.

    Parameters
    ----------
    model : PreTrainedModel
        A decoder-only multimodal model in eval mode.
    inputs : mapping or Prompt
        What a processor returns, batches padded on the left; or a prompt that was read before.
    policy : Policy, str, or a list of these, optional
        By default ``Edit()``.
    perceptual : Tensor or mapping of str to Tensor, optional
        ``[B, T]`` mask of perceptual positions instead of the placeholders.
    counterfactual : mapping or Prompt, optional
        For ``Contrast("counterfactual")``: what the processor returns for the same text with other pictures or sounds
        of the same size, silence for example.
    **generate_kwargs
        Anything ``model.generate`` takes. An empty cache of your own is filled as by ``generate``; after an exception
        it holds a part of the sequence: do not use it again.

    Returns
    -------
    SteeringOutput

    Raises
    ------
    ValueError, TypeError
        For bad input, before any compute; the message says what was found and how to fix it.
    FloatingPointError
        For NaN or infinite logits.

    Examples
    --------
    >>> import lime_xai
    >>> from lime_xai.worlds import example
    >>> model, processor, inputs = example()
    >>> output = lime_xai.steer(model, inputs, "contrast", max_new_tokens=16, do_sample=False)
    >>> processor.decode(output.sequences[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    'there is a heart , an anchor , a cloud .'
    """
    policies = as_policies(policy)
    prompt = read_prompt(model, inputs, perceptual=perceptual)
    twice = sorted(set(prompt.inputs) & set(generate_kwargs))
    if twice:
        raise TypeError(f"{', '.join(twice)}: given in inputs and as a keyword; give each once.")
    check_generation(model, {**prompt.inputs, **generate_kwargs})
    check_perceptual(model, prompt.positions)
    owner = threading.get_ident()
    with _steered(prompt.replayer, policies, prompt, perceptual, owner, counterfactual=counterfactual) as session:
        generate: Any = model.generate
        generation = generate(**prompt.inputs, **generate_kwargs)
    sequences = generation if isinstance(generation, Tensor) else generation.sequences
    return SteeringOutput(sequences, session.trace, generation)


def steered_generate(
    model: PreTrainedModel,
    input_ids: Tensor,
    logits_processor: Any = None,
    stopping_criteria: Any = None,
    generation_config: Any = None,
    *,
    policy: PolicyLike = None,
    perceptual: Perceptual = None,
    counterfactual: PromptLike | None = None,
    token_streamer: Any = None,
    **model_kwargs: Any,
) -> Any:
    """Decode under a policy: ``model.generate(**inputs, custom_generate=lime_xai.steered_generate)``.

    Parameters
    ----------
    model, input_ids, logits_processor, stopping_criteria, generation_config, **model_kwargs
        Handed over by ``generate``.
    policy : Policy, str, or a list of these, optional
        Given to ``generate`` as a keyword; by default ``Edit()``.
    perceptual : Tensor, optional
        As in ``steer``.
    counterfactual : mapping or Prompt, optional
        As in ``steer``.
    token_streamer : BaseStreamer, optional
        ``generate`` does not pass its own ``streamer`` argument to a custom loop; give the streamer here.

    Returns
    -------
    Tensor or ModelOutput
        As from ``generate``.

    Raises
    ------
    ValueError
        For generation modes other than greedy search, sampling and beam search.
    TypeError
        If it was not called by ``generate``; for ``perceptual`` of another type.
    """
    check_arguments(steered_generate, perceptual=perceptual)
    if not isinstance(generation_config, GenerationConfig):
        raise TypeError(
            f"generation_config is {shown(generation_config)}; steered_generate is called by generate: use "
            "model.generate(**inputs, custom_generate=lime_xai.steered_generate)."
        )
    mode = generation_config.get_generation_mode()
    loops = {
        GenerationMode.GREEDY_SEARCH: "_sample",
        GenerationMode.SAMPLE: "_sample",
        GenerationMode.BEAM_SEARCH: "_beam_search",
        GenerationMode.BEAM_SAMPLE: "_beam_search",
    }
    if mode not in loops:
        raise ValueError(f"Generation mode {mode} cannot be steered; use greedy search, sampling or beam search.")
    if token_streamer is not None:
        model_kwargs["streamer"] = token_streamer
        token_streamer.put(input_ids.cpu())
    policies, owner = as_policies(policy), threading.get_ident()
    with (
        torch.no_grad(),
        _steered(
            checked_replayer(model), policies, perceptual=perceptual, owner=owner, counterfactual=counterfactual
        ) as session,
        session.generation(),
    ):
        return getattr(model, loops[mode])(
            input_ids,
            logits_processor=session.requests.masked(logits_processor, generation_config),
            stopping_criteria=stopping_criteria,
            generation_config=generation_config,
            **model_kwargs,
        )
