"""Checks of steering: every policy, rows of a batch, beams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lime_xai.generation.steer import SteeringOutput, steer
from lime_xai.policies.contrast import Contrast
from lime_xai.policies.controls import LogitShift
from lime_xai.policies.edit import Edit
from lime_xai.policies.registry import POLICIES, PolicyLike

from .attribution import joined_batch
from .check import DOCUMENTED, Check, MismatchError, UnavailableError, expect_close, own, register_check
from .subject import GREEDY, Forced, Subject

TOKENS = 2
"""Tokens that each policy decides."""

BEAMS = 3

BEAM_SEARCH: dict[str, Any] = {
    "num_beams": BEAMS,
    "num_return_sequences": BEAMS,
    "output_scores": True,
    "length_penalty": 0.0,
}
"""Settings of ``generate`` under which the score of a beam is the log-probability of its tokens."""

SHIFT = 5.0
"""Added to one logit: the registered policy shifts none."""


def steered(
    subject: Subject, policy: PolicyLike, count: int = TOKENS, inputs: Mapping[str, Any] | None = None, **more: Any
) -> SteeringOutput:
    """Generate ``count`` tokens under a policy."""
    given = subject.inputs if inputs is None else inputs
    settings = GREEDY | {"max_new_tokens": count, "min_new_tokens": count} | more
    return steer(subject.model, given, policy, perceptual=subject.mask(given), **settings)


def logits_of(output: SteeringOutput) -> Tensor:
    """Return the logits ``[B, n, V]`` of a steered generation, float32."""
    return torch.stack(output.generation.logits, 1).float()


@register_check("idle")
def check_idle(subject: Subject) -> None:
    """Compare: an edit of no steps is plain generation, bit for bit."""
    found = logits_of(steered(subject, Edit(steps=0)))
    if not torch.equal(found, subject.plain(TOKENS)):
        raise MismatchError("an edit of no steps is not bit-identical to plain generation")


def policy_check(name: str) -> Check:
    """Return the check of one registered policy with its usual settings."""

    def check(subject: Subject) -> None:
        policy = LogitShift({subject.words(1)[0]: SHIFT}) if name == "logit_shift" else POLICIES[name]()
        plain = subject.plain(TOKENS)
        output = steered(subject, policy)
        found = logits_of(output)
        if policy.idle:
            if not torch.equal(found, plain):
                raise MismatchError("an idle policy is not bit-identical to plain generation")
        elif len(output.trace) != TOKENS:
            raise MismatchError(f"the trace has {len(output.trace)} steps, expected {TOKENS}")
        if bool(found.isnan().any()) or not bool((found.isfinite().any(-1)).all()) or bool((found == torch.inf).any()):
            raise MismatchError("steered logits are NaN, infinite, or leave no candidate")
        if not torch.equal(subject.plain(TOKENS), plain):
            raise MismatchError("plain generation differs after steering")

    check.__doc__ = f"The policy {name!r} decides every token, with finite logits, and leaves the model as it was."
    return check


def policy_checks() -> dict[str, Check]:
    """Return a check for every registered policy, by feature."""
    return {f"policy {name}": policy_check(name) for name in POLICIES}


@register_check("batch steered")
def check_batch_steered(subject: Subject) -> None:
    """Compare: a row of a padded batch is steered as it is alone, under every policy that the model takes alone."""
    batch = joined_batch(subject)
    refusals: list[Exception] = []
    for name, policy in {"contrast": Contrast(plausibility=0.0), "edit": Edit(plausibility=0.0)}.items():
        alone = []
        try:
            alone = [logits_of(steered(subject, policy, 1, row))[0] for row in subject.rows]
        except DOCUMENTED as error:
            if not own(error):
                raise
            refusals.append(error)
            continue
        together = logits_of(steered(subject, policy, 1, batch))
        for index, expected in enumerate(alone):
            expect_close(f"{name}: logits of row {index}", together[index], expected, 20 * subject.tolerance)
    if len(refusals) == 2:
        raise refusals[0]


@register_check("beams")
def check_beams(subject: Subject) -> None:
    """Compare: a beam scores as one sequence does that is forced to say what the beam says."""
    policy = Contrast(plausibility=0.0)
    _check_plain_beams(subject)
    found = steered(subject, policy, **BEAM_SEARCH).generation
    for sequence, score in zip(found.sequences, found.sequences_scores, strict=True):
        tokens = sequence[-TOKENS:].tolist()
        forced = steered(subject, policy, logits_processor=[Forced(tokens)])
        _expect_score(subject, score, tokens, logits_of(forced)[0])


def _check_plain_beams(subject: Subject) -> None:
    """Refuse a model whose own beams fail, or score other than one sequence does that is forced to say the same."""
    model: Any = subject.model
    settings = GREEDY | {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS} | BEAM_SEARCH
    try:
        found = model.generate(**subject.inputs, **settings)
        for sequence, score in zip(found.sequences, found.sequences_scores, strict=True):
            tokens = sequence[-TOKENS:].tolist()
            _expect_score(subject, score, tokens, subject.plain(TOKENS, tokens=tokens)[0])
    except Exception as error:  # the model's own code, whatever it raises
        message = " ".join(str(error).split())
        raise UnavailableError(f"the model itself does not run beams: {message}") from error


def _expect_score(subject: Subject, score: Tensor, tokens: list[int], logits: Tensor) -> None:
    """Refuse a beam's score that is not the log-probability of its tokens under logits ``[G, V]``."""
    chances = logits.log_softmax(-1)
    expected = chances[torch.arange(TOKENS), torch.tensor(tokens, device=chances.device)].sum()
    expect_close("the score of a beam", score[None].float(), expected[None], 5 * subject.tolerance)
