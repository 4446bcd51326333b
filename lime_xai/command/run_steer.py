"""What ``lime-xai steer`` does."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import torch
from rich.text import Text
from torch import Tensor

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
from lime_xai.model.modalities import Modalities
from lime_xai.policies.calibration import Calibration
from lime_xai.policies.registry import policy_to_dict
from lime_xai.printing import visible
from lime_xai.storage.store import write_json

from .estimate import synchronised
from .opening import Asked, Opened, open_prompt
from .policies import of_modalities, read_policies, steering_choice, uncalibrated
from .screen import console, labelled, notice

SLOW = 10.0
"""Seconds of the plain answer from which it is said that steering takes longer."""


@dataclass(frozen=True)
class Decoding:
    """How tokens are chosen."""

    max_new_tokens: int
    sample: bool
    seed: int

    @property
    def kwargs(self) -> dict[str, Any]:
        """What ``generate`` takes."""
        return {"max_new_tokens": self.max_new_tokens, "do_sample": self.sample}


def run_steer(
    asked: Asked,
    policy: str,
    calibration: Path | None,
    decoding: Decoding,
    trace: bool,
    report: Path | None,
    modalities: Modalities = None,
) -> None:
    """Answer a prompt with and without policies, print both answers and what changed.

    Parameters
    ----------
    asked : Asked
        Model and prompt.
    policy : str
        As ``read_policies`` takes it; several are applied in order.
    calibration : Path, optional
        Of the model.
    decoding : Decoding
        How tokens are chosen.
    trace : bool
        Whether to print the trace.
    report : Path, optional
        JSON to write, checked before.
    modalities : tuple of str, optional
        The perceptual group of every policy.
    """
    written = read_policies(policy)
    measured = None if calibration is None else Calibration.load(calibration)
    opened = open_prompt(asked)
    named = of_modalities(steering_choice(written, asked.model, opened.processor, measured), modalities)
    policies = [one for one in named.values() if one is not None]
    _check(opened, policies, decoding)
    for name in uncalibrated(named):
        notice(
            f"{name} runs uncalibrated: every answer moves in the direction of the mean contribution, towards 'yes' "
            "for example. --calibration FILE subtracts that mean."
        )
    plain = _plain(opened, decoding)
    torch.manual_seed(decoding.seed)
    output = steer(opened.model, opened.prompt, policies, counterfactual=opened.counterfactual, **decoding.kwargs)
    texts = _answer(opened, plain), _answer(opened, output.sequences)
    show(*texts)
    show_shares(output.trace, named)
    if trace:
        console.print(output.trace.table(tokenizer=opened.tokenizer))
    if report is not None:
        described = {name: None if one is None else policy_to_dict(one) for name, one in named.items()}
        data = {**asked.to_dict(), "policies": described, "decoding": asdict(decoding)}
        write_json(report, {**data, "plain": texts[0], "steered": texts[1], "trace": output.trace.to_dict()})
        console.print(f"report: {report}", soft_wrap=True)


def _check(opened: Opened, policies: Sequence[Policy], decoding: Decoding) -> None:
    """Refuse what steering would refuse, before the plain answer is computed."""
    check_generation(opened.model, {**opened.prompt.inputs, **decoding.kwargs})
    check_perceptual(opened.model, opened.prompt.positions)
    check_policies(opened.model, policies)
    check_modalities(policies, opened.prompt.positions)
    check_counterfactual(policies, given=opened.counterfactual is not None)
    if opened.counterfactual is not None:
        check_same_text(opened.counterfactual.positions, opened.prompt.positions)


def _plain(opened: Opened, decoding: Decoding) -> Tensor:
    """Return the plain model's sequence; say what it took if steering will take long."""
    torch.manual_seed(decoding.seed)
    start = time.perf_counter()
    found: Tensor = opened.model.generate(**opened.prompt.inputs, **decoding.kwargs)
    synchronised()
    seconds = time.perf_counter() - start
    if seconds >= SLOW:
        tokens = found.shape[1] - opened.prompt.positions.length
        notice(f"The plain answer took {seconds:.0f} s for {tokens} tokens; a policy costs more per token.")
    return found


def _answer(opened: Opened, sequence: Tensor) -> str:
    text: str = opened.tokenizer.decode(sequence[0, opened.prompt.positions.length :], skip_special_tokens=True)
    return text.strip()


def show(plain: str, steered: str) -> None:
    """Print both answers; words that differ are in bold and listed."""
    first, second, changes = differences(plain, steered)
    console.print(labelled("plain", "bold", first), soft_wrap=True)
    console.print(labelled("steered", "bold", second), soft_wrap=True)
    console.print(labelled("changed", "bold", "; ".join(changes) or "nothing"), soft_wrap=True)


def differences(plain: str, steered: str) -> tuple[Text, Text, list[str]]:
    """Return both texts with the words that differ in bold, and each change as ``words -> words``."""
    before, after = (re.findall(r"\S+\s*", text) for text in (plain, steered))
    old, new = ([str(word).strip() for word in side] for side in (before, after))
    first, second, changes = Text(), Text(), []
    for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        same = kind == "equal"
        first.append(visible("".join(before[a:b])), None if same else "bold red")
        second.append(visible("".join(after[c:d])), None if same else "bold green")
        if not same:
            gone, come = (" ".join(part) or "(nothing)" for part in (old[a:b], new[c:d]))
            changes.append(f"{gone} -> {come}")
    return first, second, changes


def show_shares(trace: SteeringTrace, policies: Mapping[str, Policy | None]) -> None:
    """Print the mean perceptual share of the relevance before and after the policies, or that it is not known."""
    found = []
    for field in ("share_before", "share_after"):
        values = [float(getattr(step, field)[0]) for step in trace.steps if getattr(step, field) is not None]
        if values:
            found.append(f"{field.removeprefix('share_')} {sum(values) / len(values):.3f}")
    known = "perceptual share of the relevance: " + ", ".join(found)
    unknown = (
        f"perceptual share of the relevance: unknown, {' and '.join(policies)} records none; add observe to --policy, "
        "behind a comma."
    )
    console.print(known if found else unknown, soft_wrap=True)
