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
    policy_from_dict,
    policy_to_dict,
)
from lime_xai.steering import steering
from lime_xai.step import Policy
from lime_xai.worlds import World, scene

OBSERVED = 50
"""Scenes on which the image share of a policy without relevance of its own is measured."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class WorldReport:
    """What was measured, ready for JSON.

    Attributes
    ----------
    world, model : str
        Name of the world; folder or name of the model.
    seed, scenes, noise : int, int, float
        What made the evaluation set.
    policies : dict of str to dict
        Per policy: ``settings``, ``chair_i, chair_s, recall, f1, repeated, finished``, the same under
        ``no_repeat``, ``splits`` with ``accuracy, auc, false_yes``, ``image_share``, ``cost``.
    """

    world: str
    model: str
    seed: int
    scenes: int
    noise: float
    policies: dict[str, dict[str, Any]]

    def to_json(self) -> str:
        """Return the report as JSON text."""
        return json.dumps(asdict(self), indent=1)

    def table(self) -> Table:
        """Return a rich table, one row per policy."""
        heading = f"{self.world} world, seed {self.seed}, {self.scenes} scenes, noise {self.noise}, model {self.model}"
        table = Table(title=heading, caption=_CAPTION)
        for column in ("policy", "CHAIR_i / F1", "repeated", "finished", "ban: CHAIR_i / F1", "finished"):
            table.add_column(column, justify="left" if column == "policy" else "right")
        for name in scene.SPLITS:
            table.add_column(f"{name}\nacc / AUC", justify="right")
        table.add_column("image share", justify="right")
        table.add_column("cost", justify="right")
        for name, row in self.policies.items():
            ban = row["no_repeat"]
            splits = [f"{s['accuracy']:.3f} / {s['auc']:.3f}" for s in row["splits"].values()]
            share = "" if row["image_share"] is None else f"{row['image_share']:.3f}"
            table.add_row(
                name,
                f"{row['chair_i']:.3f} / {row['f1']:.3f}",
                f"{row['repeated']:.2f}",
                f"{row['finished']:.2f}",
                f"{ban['chair_i']:.3f} / {ban['f1']:.3f}",
                f"{ban['finished']:.2f}",
                *splits,
                share,
                f"{row['cost']:.1f}",
            )
        return table


_CAPTION = "ban: naming an object twice is forbidden; cost: time per caption token over that of the plain model"


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


def _captions(model: PreTrainedModel, processor: Any, evaluation: Any, policy: Policy | None, ban: bool) -> Any:
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
    captions, seconds, trace = _captions(model, processor, evaluation, policy, ban=False)
    banned, _, _ = _captions(model, processor, evaluation, policy, ban=True)
    splits = {}
    with _under(model, _for_questions(policy)):
        for name in scene.SPLITS:
            questions = evaluation.split(name)
            margins = scene.question_margins(model, processor, evaluation, questions)
            splits[name] = asdict(scene.closed_metrics(margins, [q.label for q in questions]))
    share = _share(trace) if policy is not None else _observed_share(model, processor, evaluation)
    row = {
        "settings": None if policy is None else policy_to_dict(policy),
        **_named(scene.caption_metrics(captions, evaluation.scenes)),
        "no_repeat": _named(scene.caption_metrics(banned, evaluation.scenes)),
        "splits": splits,
        "image_share": share,
        "cost": seconds / (plain_seconds or seconds),
    }
    return row, seconds


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
        Rows of an interrupted run with the same seed, scenes, noise and model, which are kept.
    progress : callable, optional
        Called with the report so far after every policy.

    Returns
    -------
    WorldReport
    """
    noise = world.default_noise if noise is None else noise
    evaluation = world.evaluation_set(seed, scenes=scenes, noise=noise)
    rows: dict[str, dict[str, Any]] = {}
    plain: float | None = None
    for name, policy in {"vanilla": None, **policies}.items():
        kept = (done or {}).get(name)
        if kept is not None and name != "vanilla":
            rows[name] = kept
        else:
            rows[name], seconds = measure_one(model, processor, evaluation, policy, plain)
            plain = plain or seconds
        if progress is not None:
            progress(WorldReport(world.name, model_name, seed, scenes, noise, dict(rows)))
    return WorldReport(world.name, model_name, seed, scenes, noise, rows)


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


LEARNING_RATES = (0.001, 0.003, 0.01, 0.03)
GAINS = (0.4, 0.8, 1.6)


def tune_policies(
    world: World,
    model: PreTrainedModel,
    processor: Any,
    *,
    seed: int,
    scenes: int = 60,
    say: Progress | None = None,
) -> dict[str, Any]:
    """Choose the paper's learning rates, the uniform gain and the yes shift on a tuning seed.

    Captions under the ban decide by F1; the shift is the one with the best mean accuracy over the splits.

    Parameters
    ----------
    world, model, processor : object
        As in ``measure_policies``.
    seed, scenes : int
        Of the tuning set; never report on this seed.
    say : callable, optional
        Told each trial.

    Returns
    -------
    dict
        Written to ``tuned_scene.json`` beside this module.
    """
    evaluation = world.evaluation_set(seed, scenes=scenes)

    def score(policy: Policy) -> float:
        captions, _, _ = _captions(model, processor, evaluation, policy, ban=True)
        metrics = scene.caption_metrics(captions, evaluation.scenes)
        if say is not None:
            say(f"{policy}: F1 {metrics.f1:.3f}, CHAIR_i {metrics.chair_i:.3f}")
        return float(metrics.f1)

    def best(values: Sequence[float], make: Callable[[float], Policy]) -> float:
        return max(values, key=lambda value: score(make(value)))

    return {
        "seed": seed,
        "scenes": scenes,
        "paper": best(LEARNING_RATES, lambda rate: Edit.paper(learning_rate=rate)),
        "paper_cache": best(LEARNING_RATES, lambda rate: Edit.paper(scope="cache", learning_rate=rate)),
        "uniform_gain": best(GAINS, UniformGain),
        "yes_shift": _best_shift(model, processor, evaluation),
    }


def _best_shift(model: PreTrainedModel, processor: Any, evaluation: Any) -> float:
    """Return the shift of "yes" with the best mean accuracy over the splits, among -6 to 6 in steps of 0.25."""
    margins, labels = [], []
    for name in scene.SPLITS:
        questions = evaluation.split(name)
        margins.append(scene.question_margins(model, processor, evaluation, questions))
        labels.append(np.array([q.label for q in questions]))
    shifts = np.arange(-6, 6.01, 0.25)
    scores = [
        np.mean([((m + shift > 0) == y).mean() for m, y in zip(margins, labels, strict=True)]) for shift in shifts
    ]
    return float(shifts[int(np.argmax(scores))])


def load_policies(text: str) -> dict[str, Policy | None]:
    """Return policies from JSON text: a mapping of names to what ``policy_to_dict`` wrote."""
    return {name: policy_from_dict(data) for name, data in json.loads(text).items()}
