"""How a model decided the tokens of an answer: probability, doubt, and what it would have said without perceiving."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessorList

from lime_xai.branches.branch import BranchKind
from lime_xai.decoding.policy import Needs, Policy
from lime_xai.decoding.step import DecodingStep
from lime_xai.generation.steer import steer
from lime_xai.model.prompt import Prompt
from lime_xai.model.recording import ForcedTokens


@dataclass(frozen=True, eq=False)
class Decisions:
    """The distribution that every token of an answer was taken from, ``[G]`` each.

    Attributes
    ----------
    log_probability : Tensor
        Of the token, natural logarithm, float32.
    entropy : Tensor
        Of the distribution, in nats.
    margin : Tensor
        Logit of the token minus that of ``alternative``.
    alternative : Tensor
        The most probable other token, int64.
    alternative_probability : Tensor
        Its probability.
    """

    log_probability: Tensor
    entropy: Tensor
    margin: Tensor
    alternative: Tensor
    alternative_probability: Tensor


def decisions(logits: Tensor, ids: Tensor) -> Decisions:
    """Return how tokens ``[G]`` were decided by logits ``[G, V]``."""
    logits = logits.float().cpu()
    ids = ids.cpu()
    logs = logits.log_softmax(-1)
    said = logs.gather(-1, ids[:, None])[:, 0]
    others = logs.scatter(-1, ids[:, None], float("-inf"))
    best, alternative = others.max(-1)
    entropy = torch.special.entr(logs.exp()).sum(-1)
    return Decisions(said, entropy, said - best, alternative, best.exp())


@dataclass(eq=False)
class _Noted:
    """Logits of the steps of one answer, ``[1, V]`` each."""

    plain: list[Tensor] = field(default_factory=list)
    branch: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class _Recorder(Policy):
    """Changes nothing; notes the model's logits and those of a branch that perceives less."""

    noted: _Noted
    kind: BranchKind | None

    @property
    def needs(self) -> Needs:
        """The branch."""
        return Needs(branch=self.kind)

    def step(self, step: DecodingStep) -> Tensor:
        """Return the logits unchanged."""
        self.noted.plain.append(step.plain)
        if step.branch is not None:
            self.noted.branch.append(step.branch)
        return step.logits


def logits_along(
    prompt: Prompt,
    ids: Tensor,
    policies: Sequence[Policy] = (),
    kind: BranchKind | None = None,
    counterfactual: Prompt | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Decode a given answer and return the logits of its steps.

    Parameters
    ----------
    prompt : Prompt
        One row, with something that is perceived.
    ids : Tensor
        ``[G]``: the answer; a token that ends it is the last.
    policies : sequence of Policy
        Under which it is decoded.
    kind : BranchKind, optional
        A branch to decode beside it.
    counterfactual : Prompt, optional
        For a policy that contrasts with other pictures or sounds.

    Returns
    -------
    steered, plain : Tensor
        ``[G, V]``: logits after the policies and without them.
    branch : Tensor or None
        ``[G, V]``: of the branch.

    Raises
    ------
    ValueError, NotImplementedError
        From ``steer``, for a model on which a policy or the branch does not work.
    """
    noted = _Noted()
    start = prompt.positions.length if "input_ids" in prompt.inputs else 0
    output: Any = steer(
        prompt.model,
        prompt,
        [_Recorder(noted, kind), *policies],
        counterfactual=counterfactual,
        logits_processor=LogitsProcessorList([ForcedTokens(ids[None], start)]),
        min_new_tokens=len(ids),
        max_new_tokens=len(ids),
        num_beams=1,
        do_sample=False,
        return_dict_in_generate=True,
        output_logits=True,
    )
    steered = torch.cat(list(output.generation.logits))
    return steered, torch.cat(noted.plain), torch.cat(noted.branch) if noted.branch else None


def blind_logits(prompt: Prompt, ids: Tensor) -> tuple[Tensor | None, str | None]:
    """Return the logits ``[G, V]`` of a model that does not perceive, along an answer; or None, and why.

    The blind branch of ``Contrast``: the prompt without its images, videos and sounds.
    """
    if not prompt.positions.modalities:
        return None, "the prompt holds nothing that is perceived"
    try:
        _, _, branch = logits_along(prompt, ids, kind=BranchKind("blind"))
    except (ValueError, NotImplementedError) as error:
        return None, str(error)
    return branch, None
