"""Explaining an answer in one call: generate, attribute every token, merge tokens to words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lime_xai.attribution.attribute import attribute
from lime_xai.attribution.methods.lookup import MethodLike, as_method
from lime_xai.attribution.targets import resolve_target
from lime_xai.branches.counterfactual import check_same_text
from lime_xai.decoding.policy import Policy
from lime_xai.decoding.trace import SteeringTrace
from lime_xai.generation.checks import (
    check_counterfactual,
    check_generation,
    check_modalities,
    check_perceptual,
    check_policies,
)
from lime_xai.generation.steer import steer
from lime_xai.model.draws import Draws
from lime_xai.model.positions import Perceptual
from lime_xai.model.prompt import Prompt, PromptLike, read_prompt
from lime_xai.policies.registry import PolicyLike, as_policies
from lime_xai.values.checking import check_arguments

from .answer import ExplainedAnswer
from .decisions import blind_logits, decisions, logits_along
from .given import check_one, given_answer, naming
from .making import explained_words, on_cpu, prompt_words, steps_of


def explain(
    model: PreTrainedModel,
    inputs: PromptLike,
    policy: PolicyLike = None,
    *,
    processor: Any = None,
    answer: str | Sequence[int] | Tensor | None = None,
    against: str | int | None = None,
    method: MethodLike = "attnlrp",
    perceptual: Perceptual = None,
    counterfactual: PromptLike | None = None,
    compare: bool = True,
    progress: bool = False,
    **generate_kwargs: Any,
) -> ExplainedAnswer:
    """Generate an answer and explain every word of it.

    1. Generate the answer, under a policy if one is given; or take the one that is given.
    2. Decode it once more beside a branch that perceives nothing: this gives probabilities, doubt and grounding.
    3. Attribute every token to all positions before it, in the model without a policy.
    4. Merge tokens to words. The relevance of a word is the sum over its tokens.
    5. With a policy, explain the answer of the model without it in the same way, as ``before``. With ``do_sample`` it
       is drawn from the state of torch's random numbers at the call, as the first: each depends on the seed alone, and
       ``before`` is what the same seed gives without a policy.

    Parameters
    ----------
    model : PreTrainedModel
        A decoder-only model of transformers, multimodal or text-only, in eval mode.
    inputs : mapping or Prompt
        One prompt: what a processor returns, ``processor.apply_chat_template(..., return_dict=True)`` for example.
    policy : Policy, str, or a list of these, optional
        As in ``steer``; None: the model alone.
    processor : object
        The processor, or the tokenizer of a text-only model: it decodes the words, and undoes the normalisation of
        pictures. Not needed for a ``Prompt`` that was read with it.
    answer : str, sequence of int or Tensor, optional
        An answer to explain instead of generating one.
    against : str or int, optional
        A second token: the margin between ``answer``, which is then a single token, and it.
    method : str, TransformerComposite or AttributionMethod
        As in ``attribute``.
    perceptual : Tensor or mapping, optional
        As in ``attribute``.
    counterfactual : mapping or Prompt, optional
        As in ``steer``, for ``Contrast("counterfactual")``.
    compare : bool
        Whether to explain the answer without the policy as well; it changes neither the other answer nor the random
        numbers that are drawn after the call.
    progress : bool
        Show a bar while a method runs row by row.
    **generate_kwargs
        Anything ``model.generate`` takes.

    Returns
    -------
    ExplainedAnswer

    Raises
    ------
    ValueError, TypeError
        For bad input, before any compute: several prompts, several returned sequences, no processor, ``against``
        without an answer of one token, a counterfactual that does not fit.
    """
    check_arguments(explain, compare=compare, progress=progress)
    as_method(method)  # refused before the answer is generated
    prompt = read_prompt(model, inputs, processor=processor, perceptual=perceptual)
    policies = [] if policy is None else as_policies(policy)
    other = None if counterfactual is None else read_prompt(model, counterfactual, perceptual=perceptual)
    _check(prompt, policies, other, generate_kwargs)
    given = None if answer is None else given_answer(prompt, answer)
    target = _margin(prompt, given, against)
    run = _Run(prompt, method, target, progress)
    asked = _Asked(prompt, given, generate_kwargs)
    start = Draws.of(model)
    said = asked.answered(_Under(policies, other))
    compared = None
    if policies and compare:
        with start.again():
            compared = run.explained(asked.answered(_Under()), ())
    return run.explained(said, policies, compared)


@dataclass(frozen=True, eq=False)
class _Under:
    """Policies of an answer, and what their counterfactual branch perceives."""

    policies: Sequence[Policy] = ()
    counterfactual: Prompt | None = None

    def logits_along(self, prompt: Prompt, ids: Tensor) -> Tensor | None:
        """Return the logits ``[G, V]`` along an answer; None without policies."""
        if not self.policies:
            return None
        return logits_along(prompt, ids, self.policies, counterfactual=self.counterfactual)[0]


@dataclass(frozen=True, eq=False)
class _Said:
    """An answer.

    Attributes
    ----------
    ids : Tensor
        ``[G]``, not empty.
    logits : Tensor or None
        ``[G, V]``: from which the tokens were taken; None: the model's own.
    trace : SteeringTrace or None
        Of the policies.
    """

    ids: Tensor
    logits: Tensor | None = None
    trace: SteeringTrace | None = None


@dataclass(frozen=True, eq=False)
class _Run:
    """What stays the same for the answers with and without a policy."""

    prompt: Prompt
    method: MethodLike
    margin: tuple[int, int] | None
    progress: bool

    def explained(
        self, said: _Said, policies: Sequence[Policy], before: ExplainedAnswer | None = None
    ) -> ExplainedAnswer:
        """Return an answer with its explanation."""
        prompt, ids = self.prompt, said.ids
        target: Any = ids[None] if self.margin is None else self.margin
        found = attribute(prompt.model, prompt, target, self.method, progress=self.progress)
        if self.margin is not None:  # a single token, whose attribution has no axis of answer tokens
            found = replace(found, relevance=found.relevance[:, None], logits=found.logits[:, None])
        plain = prompt.recording(ids[None], logits=True).logits
        if plain is None:
            raise RuntimeError("The answer was recorded without logits.")
        blind, reason = blind_logits(prompt, ids)
        alone = decisions(plain[0], ids)
        sure = alone if said.logits is None else decisions(said.logits, ids)
        gain = None if blind is None else alone.log_probability - decisions(blind, ids).log_probability
        return ExplainedAnswer(
            attribution=on_cpu(found),
            words=explained_words(prompt, found, ids, sure, gain),
            context=prompt_words(prompt),
            policies=tuple(map(repr, policies)),
            steps=steps_of(said.trace),
            no_grounding=reason,
            before=before,
        )


def _check(prompt: Prompt, policies: Sequence[Policy], other: Prompt | None, generate_kwargs: dict[str, Any]) -> None:
    """Refuse what cannot be explained, before any compute."""
    check_one(prompt, "explain")
    count = generate_kwargs.get("num_return_sequences") or prompt.model.generation_config.num_return_sequences or 1
    if count != 1:
        raise ValueError(f"num_return_sequences is {count}; explain takes one answer.")
    check_generation(prompt.model, {**prompt.inputs, **generate_kwargs})
    check_policies(prompt.model, policies)
    if policies:
        check_perceptual(prompt.model, prompt.positions)
        check_modalities(policies, prompt.positions)
    check_counterfactual(policies, given=other is not None)
    if other is not None:
        check_same_text(other.positions, prompt.positions)


def _margin(prompt: Prompt, given: Tensor | None, against: str | int | None) -> tuple[int, int] | None:
    """Return the two tokens of a margin.

    Raises
    ------
    ValueError
        If one of the two is not a single token.
    """
    if against is None:
        return None
    ids = prompt.positions.input_ids
    with naming("against"):
        other = resolve_target(against, 1, prompt.vocabulary, ids.device, prompt.processor, ids).ids
    if given is None or len(given) != 1:
        raise ValueError("against= compares two single tokens; give answer= of one token.")
    if other is None or other.numel() != 1:
        raise ValueError(f"against is {against!r}, which is {0 if other is None else other.numel()} tokens; give one.")
    return int(given[0]), int(other.flatten()[0])


@dataclass(frozen=True, eq=False)
class _Asked:
    """What is asked of the model, the same with and without policies."""

    prompt: Prompt
    given: Tensor | None
    kwargs: dict[str, Any]

    def answered(self, under: _Under) -> _Said:
        """Return the given answer, or what the model says.

        Raises
        ------
        ValueError
            If it says nothing.
        """
        prompt = self.prompt
        if self.given is not None:
            return _Said(self.given, under.logits_along(prompt, self.given))
        output, trace = self._generated(under)
        start = prompt.positions.length if "input_ids" in prompt.inputs else 0
        ids = output.sequences[0, start:]
        if not len(ids):
            raise ValueError("The model generated no token; give max_new_tokens=.")
        if getattr(output, "beam_indices", None) is not None:
            return _Said(ids, under.logits_along(prompt, ids))
        logits = torch.cat([step[:1] for step in output.logits])[: len(ids)] if under.policies else None
        return _Said(ids, logits, trace)

    def _generated(self, under: _Under) -> tuple[Any, SteeringTrace | None]:
        """Return what ``generate`` does, with the trace of the policies."""
        model: Any = self.prompt.model
        asked = {**self.kwargs, "return_dict_in_generate": True, "output_logits": True}
        if not under.policies:
            return model.generate(**self.prompt.inputs, **asked), None
        steered = steer(model, self.prompt, under.policies, counterfactual=under.counterfactual, **asked)
        return steered.generation, steered.trace
