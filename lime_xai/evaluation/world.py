"""Policies measured on an embedded world, beside the same model without any."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from transformers import PreTrainedModel

from lime_xai.names import unknown_name
from lime_xai.policies import (
    Contrast,
    Edit,
    LogitShift,
    Observe,
    Plausible,
    UniformGain,
    policy_to_dict,
)
from lime_xai.steering import steering
from lime_xai.step import Policy
from lime_xai.worlds import World, scene
from lime_xai.worlds.scene.network import weights_hash

OBSERVED = 50
"""Scenes on which the plain model's image share is measured, by a policy that only observes."""


@dataclass(frozen=True)
class WorldReport:
    """What was measured, ready for JSON.

    Attributes
    ----------
    world, model, weights : str
        Name of the world; folder or name of the model; SHA-256 of its weights.
    seed, scenes, noise : int, int, float
        What made the evaluation set.
    policies : dict of str to dict
        Per policy: ``settings``, ``chair_i, chair_s, recall, f1, repeated, finished``, the same under
        ``no_repeat``, ``splits`` with ``accuracy, auc, false_yes``, ``image_share`` (None where a policy computes no
        relevance), ``cost``.
    """

    world: str
    model: str
    weights: str
    seed: int
    scenes: int
    noise: float
    policies: dict[str, dict[str, Any]]

    def to_json(self) -> str:
        """Return the report as JSON text."""
        return json.dumps(asdict(self), indent=1)

    def tables(self) -> Group:
        """Return rich tables that fit 80 columns: captions, then closed questions."""
        captions = Table(title=f"captions: {self._heading()}", caption=_CAPTION, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for column in ("policy", "CHAIR_i", "F1", "repeat", "finish", "CHAIR_i*", "F1*", "finish*", "cost"):
            captions.add_column(column, justify="left" if column == "policy" else "right", no_wrap=column == "policy")
        questions = Table(title="closed questions: accuracy / AUC", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for column in ("policy", *scene.SPLITS, "image share"):
            questions.add_column(column, justify="left" if column == "policy" else "right", no_wrap=column == "policy")
        for name, row in self.policies.items():
            ban = row["no_repeat"]
            values = [row["chair_i"], row["f1"], row["repeated"], row["finished"]]
            values += [ban["chair_i"], ban["f1"], ban["finished"]]
            captions.add_row(name, *(f"{value:.3f}" for value in values), f"{row['cost']:.1f}")
            splits = [f"{s['accuracy']:.3f}/{s['auc']:.3f}" for s in row["splits"].values()]
            share = "" if row["image_share"] is None else f"{row['image_share']:.3f}"
            questions.add_row(name, *splits, share)
        return Group(captions, questions)

    def _heading(self) -> str:
        return f"{self.world} world, seed {self.seed}, {self.scenes} scenes, noise {self.noise}, {self.model} model"


_CAPTION = "*: naming an object twice is forbidden; cost: time per token over the plain model's"


def world_policies(processor: Any, tuned: Mapping[str, Any] | None = None) -> dict[str, Policy | None]:
    """Return the policies that ``lime-xai world`` knows, by name; ``vanilla`` is None.

    Parameters
    ----------
    processor : object
        Gives the token id of "yes".
    tuned : mapping, optional
        ``paper``, ``paper_cache`` (learning rates), ``uniform_gain`` and ``yes_shift``, as ``tune_policies``
        returns them; by default those shipped with the world.
    """
    values = dict(tuned if tuned is not None else shipped_tuning())
    yes = processor.tokenizer.convert_tokens_to_ids("yes")
    return {
        "vanilla": None,
        "plausible": Plausible(),
        "paper": Edit.paper(learning_rate=values["paper"]),
        "paper_cache": Edit.paper(scope="cache", learning_rate=values["paper_cache"]),
        "edit": Edit(),
        "contrast": Contrast(),
        "uniform_gain": UniformGain(values["uniform_gain"]),
        "yes_shift": LogitShift({yes: values["yes_shift"]}),
    }


def shipped_tuning() -> dict[str, Any]:
    """Return the settings chosen on the tuning seed named in the file."""
    text = (files("lime_xai.evaluation") / "tuned_scene.json").read_text(encoding="utf-8")
    result: dict[str, Any] = json.loads(text)
    return result


@contextmanager
def _under(model: PreTrainedModel, policy: Policy | None) -> Iterator[Any]:
    with nullcontext() if policy is None else steering(model, policy) as trace:
        yield trace


def _for_questions(policy: Policy | None) -> Policy | None:
    """Return the policy without a plausibility mask: closed questions need finite margins."""
    return replace(policy, plausibility=0.0) if isinstance(policy, Contrast | Edit | Plausible) else policy


def timed_captions(model: PreTrainedModel, processor: Any, evaluation: Any, policy: Policy | None, ban: bool) -> Any:
    """Return captions, seconds per generated token and the trace."""
    start = time.perf_counter()
    with _under(model, policy) as trace:
        captions = scene.generate_captions(model, processor, evaluation, no_repeat=ban)
    seconds = time.perf_counter() - start
    return captions, seconds / sum(len(caption.split()) for caption in captions), trace


def measure_one(
    model: PreTrainedModel,
    processor: Any,
    evaluation: Any,
    policy: Policy | None,
    plain_seconds: float | None,
) -> tuple[dict[str, Any], float]:
    """Measure one policy.

    Returns
    -------
    dict
        The row of ``WorldReport.policies``.
    float
        Seconds per caption token.
    """
    captions, seconds, trace = timed_captions(model, processor, evaluation, policy, ban=False)
    banned, _, _ = timed_captions(model, processor, evaluation, policy, ban=True)
    splits = {}
    with _under(model, _for_questions(policy)):
        for name in scene.SPLITS:
            questions = evaluation.split(name)
            margins = scene.question_margins(model, processor, evaluation, questions)
            splits[name] = asdict(scene.closed_metrics(margins, [q.label for q in questions]))
    share = _share(trace) if policy is not None else _observed_share(model, processor, evaluation)
    row = {
        "settings": json.loads(_settings(policy)),
        **_named(scene.caption_metrics(captions, evaluation.scenes)),
        "no_repeat": _named(scene.caption_metrics(banned, evaluation.scenes)),
        "splits": splits,
        "image_share": share,
        "cost": seconds / (plain_seconds or seconds),
    }
    return row, seconds


def _settings(policy: Policy | None) -> str:
    """Return a policy as JSON text, comparable with what a report holds."""
    return json.dumps(None if policy is None else policy_to_dict(policy))


def _named(metrics: Any) -> dict[str, float | None]:
    """Return metrics as JSON values; JSON knows no NaN."""
    return {name: None if value != value else value for name, value in asdict(metrics).items()}


def _share(trace: Any) -> float | None:
    shares = [float(step.share_after.mean()) for step in trace.steps if step.share_after is not None]
    return float(np.mean(shares)) if shares else None


def _observed_share(model: PreTrainedModel, processor: Any, evaluation: Any) -> float | None:
    few = replace(evaluation, scenes=evaluation.scenes[:OBSERVED], images=evaluation.images[:OBSERVED])
    with steering(model, Observe()) as trace:
        scene.generate_captions(model, processor, few)
    return _share(trace)


def measure_policies(
    world: World,
    model: PreTrainedModel,
    processor: Any,
    policies: Mapping[str, Policy | None],
    *,
    seed: int,
    scenes: int = 300,
    noise: float | None = None,
    model_name: str = "bundled",
    done: Mapping[str, dict[str, Any]] | None = None,
    progress: Callable[[WorldReport], None] | None = None,
) -> WorldReport:
    """Measure policies on fresh scenes, always beside the plain model.

    Parameters
    ----------
    world : World
        Draws the scenes.
    model, processor : object
        What is steered.
    policies : mapping of str to Policy or None
        None is the plain model; it is measured first in any case, under the name ``vanilla``.
    seed, scenes, noise : int, int, float
        Of the evaluation set.
    model_name : str
        For the report.
    done : mapping, optional
        Rows of an interrupted run with the same seed, scenes, noise and model, which are kept where their
        settings are the same or their policy is not asked for.
    progress : callable, optional
        Called with the report so far after every policy.

    Returns
    -------
    WorldReport
    """
    noise = world.default_noise if noise is None else noise
    evaluation = world.evaluation_set(seed, scenes=scenes, noise=noise)
    named = {"vanilla": None, **policies}
    weights = weights_hash(model)
    rows = {name: row for name, row in (done or {}).items() if name not in named}
    plain: float | None = None
    for name, policy in named.items():
        kept = (done or {}).get(name)
        if kept is not None and name != "vanilla" and kept["settings"] == json.loads(_settings(policy)):
            rows[name] = kept
        else:
            rows[name], seconds = measure_one(model, processor, evaluation, policy, plain)
            plain = plain or seconds
        if progress is not None:
            progress(WorldReport(world.name, model_name, weights, seed, scenes, noise, dict(rows)))
    return WorldReport(world.name, model_name, weights, seed, scenes, noise, rows)


def select_policies(names: Sequence[str], known: Mapping[str, Policy | None]) -> dict[str, Policy | None]:
    """Return the named policies in order.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest known one.
    """
    for name in names:
        if name not in known:
            raise unknown_name("policy", name, known)
    return {name: known[name] for name in names}
