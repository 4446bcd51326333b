"""Running all checks on a model, and the table of what they found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedModel

from lime_xai.errors import unknown_name

from .check import CHECKS, Check, Outcome, run_check
from .decoding import policy_checks
from .subject import Subject, padded_batch


@dataclass(frozen=True)
class Conformance:
    """What works on a model.

    Attributes
    ----------
    outcomes : dict of str to Outcome
        By feature.
    """

    outcomes: dict[str, Outcome]

    @property
    def failed(self) -> dict[str, Outcome]:
        """Features whose checks failed."""
        return {name: outcome for name, outcome in self.outcomes.items() if outcome.status == "failed"}

    @property
    def counts(self) -> dict[str, int]:
        """How many features work, are refused, and failed."""
        found = [outcome.status for outcome in self.outcomes.values()]
        return {status: found.count(status) for status in ("works", "refused", "failed")}


def all_checks() -> dict[str, Check]:
    """Return the checks by feature, one per registered policy included."""
    return {**CHECKS, **policy_checks()}


def check_conformance(
    model: PreTrainedModel,
    inputs: Mapping[str, Any],
    *,
    rows: Sequence[Mapping[str, Any]] = (),
    batch: Mapping[str, Any] | None = None,
    perceptual: tuple[int, int] | None = None,
    features: Sequence[str] | None = None,
) -> Conformance:
    """Try every feature of this package on a model and one prompt.

    Parameters
    ----------
    model : PreTrainedModel
        In eval mode.
    inputs : mapping
        What a processor returns for one prompt.
    rows, batch
        Several prompts, one row each, and the same as one batch padded on the left. By default the prompt, and the
        prompt with its last tokens said twice.
    perceptual : (int, int), optional
        Positions that count as perceived, for a model without placeholders.
    features : sequence of str, optional
        Only these.

    Returns
    -------
    Conformance
        If the model itself does not generate, every feature is refused.

    Raises
    ------
    ValueError
        For an unknown feature.

    Examples
    --------
    >>> from lime_xai.evaluation.conformance.suite import check_conformance
    >>> from lime_xai.worlds import example
    >>> model, processor, inputs = example()
    >>> found = check_conformance(model, inputs, features=["attribute"])
    >>> found.counts, found.failed
    ({'works': 1, 'refused': 0, 'failed': 0}, {})
    """
    checks = all_checks()
    names = list(checks) if features is None else list(features)
    for name in names:
        if name not in checks:
            raise unknown_name("feature", name, checks)
    if batch is None and "attention_mask" in inputs and "input_ids" in inputs:
        rows, batch = padded_batch(inputs)
    subject = Subject(model, inputs, rows, batch, perceptual)
    try:
        subject.plain(1)
    except Exception as error:  # the model's own code, whatever it raises
        return Conformance(dict.fromkeys(names, _without_generation(subject, error)))
    return Conformance({name: run_check(checks[name], subject) for name in names})


def read(subject: Subject) -> None:
    """Read the prompt, which every function of this package does first."""
    subject.prompt()


def _without_generation(subject: Subject, error: Exception) -> Outcome:
    """Return the outcome of every feature on a model that does not generate by itself."""
    reading = run_check(read, subject)
    if reading.status == "refused":
        return reading
    message = " ".join(str(error).split())
    return Outcome("refused", f"the model itself does not generate: {type(error).__name__}: {message}")
