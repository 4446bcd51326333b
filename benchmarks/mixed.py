"""Whether steering toward one modality raises its share and not the other's, on models that see and hear.

``python -m benchmarks.mixed`` writes ``benchmarks/results/mixed.json`` and its section of ``benchmarks/RESULTS.md``.
Weights are random: the numbers show what a policy does to relevance, not whether it helps.
"""

from __future__ import annotations

import json
import re
import sys
import time
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lime_xai import (
    Constant,
    Contrast,
    Edit,
    KVEditor,
    Needs,
    Policy,
    RelevanceObjective,
    Reweight,
    UniformGain,
    attribute,
    calibrate,
    read_prompt,
    steer,
)
from lime_xai.editing.deltas import Deltas, GainDeltas
from lime_xai.editing.settings import EditSettings
from lime_xai.evaluation.bootstrap import bounded, estimate, resampling_weights
from tests.support.mixed import MIXED, Mixed

HERE = Path(__file__).parent
FAMILIES = ("qwen2_5_omni_thinker", "qwen3_omni_thinker", "gemma4")
SEEDS = (0, 1, 2)
PROMPTS = 20
TOKENS = 3
MODALITIES = ("image", "audio")
PARTS = (*MODALITIES, "text")
OTHER = {"image": "audio", "audio": "image"}


@dataclass(frozen=True)
class OfTokens(RelevanceObjective):
    """Explains the logits of given tokens ``[B]``."""

    tokens: Any = None

    def target_value(self, logits: Tensor, reference_logits: Tensor) -> Tensor:
        """Return the logit of each row's token."""
        return logits.gather(-1, self.tokens[:, None])[:, 0]


@dataclass(frozen=True)
class Measured(Policy):
    """Decides as a policy does, and records shares of the relevance of the logit that it decided by."""

    policy: Policy | None
    shares: list[Tensor] = field(default_factory=list)

    @property
    def needs(self) -> Needs:
        """Those of the policy, and the past."""
        own = Needs() if self.policy is None else self.policy.needs
        return replace(own, past=True, gradients=True, streams=())

    def step(self, step: Any) -> Tensor:
        """Return the policy's logits."""
        logits, deltas, weight = self._decided(step)
        objective = OfTokens(tokens=logits.argmax(-1))
        editor = KVEditor(EditSettings(objective=objective, steps=0, direction="backward"))
        with torch.inference_mode(False), torch.enable_grad():
            found = editor.evaluate(step, deltas or editor.zero_deltas(step), differentiate=False)
        relevance = found.relevance.detach().abs() * weight * (step.attended & ~step.positions.bos)
        masks = [*(step.modalities[name] for name in MODALITIES), ~step.perceptual]
        self.shares.append(torch.stack([(relevance * mask).sum(-1) for mask in masks], -1) / relevance.sum(-1)[:, None])
        return logits

    def _decided(self, step: Any) -> tuple[Tensor, Deltas | None, Tensor]:
        """Return the policy's logits, what it changed in the cache, and its weight on the relevance of positions."""
        policy, ones = self.policy, torch.ones_like(step.plain[:, :1])
        if isinstance(policy, Edit):
            result = KVEditor(policy).edit(step)
            return result.logits, result.deltas, ones
        logits = step.plain if policy is None else policy.step(step)
        if isinstance(policy, Reweight):  # the contribution of the group is added once more
            return logits, None, 1 + policy.strength * step.group(policy.modalities)
        if isinstance(policy, UniformGain):
            settings = EditSettings(direction="backward", modalities=policy.modalities)
            deltas = settings.zero_deltas(step.past, step.positions, step.positions.length - 1)
            assert isinstance(deltas, GainDeltas)
            for parameter in deltas.tensors():
                parameter.data.fill_(policy.gain)
            return logits, deltas, ones
        return logits, None, ones


def prompts(mixed: Mixed, count: int, first: int = 0) -> dict[str, Tensor]:
    """Return a batch of prompts with their own pictures, sounds and words, of one length."""
    _, features = mixed.make()
    singles = []
    for row in range(first, first + count):
        words = torch.randint(10, 90, (4,), generator=torch.Generator().manual_seed(1000 + row)).tolist()
        singles.append(mixed.inputs(features, row, tail=words))
    return {name: torch.cat([single[name] for single in singles]) for name in singles[0]}


def policies(model: Any, calibration_prompts: dict[str, Tensor], modality: str) -> dict[str, Policy]:
    """Return the policies that are measured, steering toward one modality; none excludes tokens."""
    group: Any = (modality,)
    edit = Edit(modalities=group, direction="backward", plausibility=0.0)
    gains = calibrate(model, [calibration_prompts], edit=edit, direction="auto", progress=False, max_new_tokens=TOKENS)
    return {
        "edit": edit,
        "reweight": Reweight(modalities=group, direction="auto", plausibility=0.0),
        "uniform gain": UniformGain(modalities=group),
        "constant": Constant(gains, modalities=group),
        "contrast, slot": Contrast("slot", modalities=group, plausibility=0.0),
        "contrast, blind": Contrast("blind", modalities=group, plausibility=0.0),
    }


def measured(model: Any, inputs: dict[str, Tensor], policy: Policy | None) -> dict[str, np.ndarray]:
    """Return shares per prompt ``[N, 3]``: of the deciding logit, and of the decided tokens in the plain model."""
    prompt = read_prompt(model, inputs)
    recorder = Measured(policy)
    output = steer(model, prompt, recorder, max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False)
    tokens = output.sequences[:, inputs["input_ids"].shape[1] :]
    found = attribute(model, prompt, tokens)
    relevance = found.relevance.abs()  # [B, G, T]
    masks = torch.stack([found.mask(name) for name in MODALITIES])
    parts = torch.stack([(relevance * mask[:, None]).sum(-1) for mask in masks], -1)
    rest = relevance.sum(-1, keepdim=True)
    of_token = torch.cat([parts, rest - parts.sum(-1, keepdim=True)], -1) / rest
    shares = {"token": of_token.mean(1)}
    if not isinstance(policy, Contrast):  # its logit is a difference of two models'
        shares["decision"] = torch.stack(recorder.shares).mean(0)
    return {name: value.double().numpy() for name, value in shares.items()}


def run() -> dict[str, Any]:
    """Measure everything; shares ``[N, 3]`` by policy, direction and measure, over families and seeds."""
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    for family in FAMILIES:
        for seed in SEEDS:
            model, _, _ = MIXED[family].build(seed)
            inputs, others = prompts(MIXED[family], PROMPTS), prompts(MIXED[family], 4, first=500)
            choices: dict[str, Policy | None] = {"plain": None}
            for modality in MODALITIES:
                choices |= {f"{name} -> {modality}": p for name, p in policies(model, others, modality).items()}
            for name, policy in choices.items():
                for measure, shares in measured(model, inputs, policy).items():
                    found.setdefault(measure, {}).setdefault(name, []).append(shares)
    return {measure: {name: np.concatenate(parts) for name, parts in of.items()} for measure, of in found.items()}


def summary(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row per measure, policy and direction: differences of shares to no steering, with intervals."""
    rows = []
    for measure, shares in found.items():
        plain = shares["plain"]
        weights = resampling_weights(len(plain))
        for name, steered in shares.items():
            row: dict[str, Any] = {"measure": measure, "policy": name}
            row["share"] = dict(zip(PARTS, steered.mean(0).tolist(), strict=True))
            if name != "plain":
                moved = weights @ (steered - plain) / weights.sum(-1, keepdims=True)
                row["difference"] = {part: estimate(moved[:, i]) for i, part in enumerate(PARTS)}
                toward = name.rpartition(" ")[2]
                own, other = row["difference"][toward], row["difference"][OTHER[toward]]
                row["separates"] = own[1] > 0 and other[1] <= 0
            rows.append(row)
    return rows


def table(rows: list[dict[str, Any]], measure: str) -> str:
    """Return a Markdown table of one measure."""
    lines = ["| policy | image | audio | text | separates |", "| --- | ---: | ---: | ---: | --- |"]
    for row in (one for one in rows if one["measure"] == measure):
        if "difference" not in row:
            cells, verdict = [f"{row['share'][part]:.3f}" for part in PARTS], ""
        else:
            cells = [bounded(*row["difference"][part]) for part in PARTS]
            verdict = "yes" if row["separates"] else "**no**"
        lines.append(f"| {row['policy']} | {' | '.join(cells)} | {verdict} |")
    return "\n".join(lines)


def section(rows: list[dict[str, Any]]) -> str:
    """Return the text of the section."""
    families, seeds = ", ".join(f"`{name}`" for name in FAMILIES), ", ".join(map(str, SEEDS))
    return f"""Random weights: {families}, seeds {seeds}, {PROMPTS} prompts each, {TOKENS} tokens.

A share is the part of the absolute relevance (AttnLRP) on a modality's positions, mean over tokens. "plain" is
the share without steering; all other rows are differences to it with a 95 % bootstrap interval over prompts. A policy
separates if the interval of its own modality lies above zero and that of the other does not.

Relevance of the deciding logit, in the step as the policy changes it (direct form, without the first position). For
`reweight` the group's part counts `1 + c` times, which is what it adds up, so that its separation is by construction:

{table(rows, "decision")}

{verdict(rows, "decision")}

Relevance of the decided tokens in the model without a policy (full propagation): only the choice of tokens differs.

{table(rows, "token")}

{verdict(rows, "token")}"""


def verdict(rows: list[dict[str, Any]], measure: str) -> str:
    """Return which policies do not separate the modalities."""
    judged = [row for row in rows if row["measure"] == measure and "separates" in row]
    failed = [f"{row['policy']}" for row in judged if not row["separates"]]
    return f"Not separated: {'; '.join(failed)}." if failed else "Every policy separates the modalities."


def main() -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    start = time.process_time()
    rows = summary(run())
    text = section(rows)
    print(text)
    (HERE / "results/mixed.json").write_text(json.dumps(rows, indent=1) + "\n")
    page = HERE / "RESULTS.md"
    found = re.sub(
        r"(<!-- mixed -->).*?(<!-- /mixed -->)", lambda m: f"{m[1]}\n{text}\n{m[2]}", page.read_text(), flags=re.S
    )
    page.write_text(found)
    print(f"{time.process_time() - start:.0f} CPU seconds", file=sys.stderr)


if __name__ == "__main__":
    main()
