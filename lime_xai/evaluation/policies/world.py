"""Policies measured on an embedded world, beside the same model without any."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
import torch
from rich.console import Group
from transformers import PreTrainedModel

from lime_xai.decoding.policy import Policy
from lime_xai.evaluation.against import Against
from lime_xai.generation.steer import steering
from lime_xai.policies.edit import Edit
from lime_xai.policies.observe import Observe
from lime_xai.policies.registry import policy_from_dict, policy_to_dict
from lime_xai.storage.store import number
from lime_xai.storage.weights import weights_hash
from lime_xai.worlds import World, load_world
from lime_xai.worlds.shared.evaluation import EvaluationSet
from lime_xai.worlds.shared.language import EOS
from lime_xai.worlds.shared.measuring import Around, generate_captions
from lime_xai.worlds.shared.responses import Under, respond

from .outcome import Outcome, Result, counted, held
from .registry import Measured
from .reliance import caption_relevance
from .tables import world_tables

OBSERVED = 50
"""Scenes on which the modality's share is measured apart: of the plain model, and of edits in forward direction."""
_MEDIA = ("nothing", "background")
"""Media that a world makes in place of its own."""


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
        Per policy: ``settings``, ``against`` (the other medium of a contrast, or None), the fields of
        ``CaptionMetrics``, the same under ``no_repeat`` and ``detailed`` (with those of ``detail_values``),
        ``relevance`` of true names (``caption_relevance``), ``splits`` with the fields of ``ClosedMetrics``, ``open``
        with ``accuracy`` and ``habitual``, ``grounding`` in nats, ``image_share`` or ``audio_share`` (None where a
        policy computes no relevance), ``cost``: time per caption token over that of the plain model, with one thread
        on a CPU processor time (None where other work on the machine made an earlier report's time meaningless);
        ``intervals`` holds [low, high] and ``differences`` [value, low, high] against the plain model, both under the
        dotted names of ``lime_xai.worlds.shared.records.statistics``, bootstrapped over scenes at 95 %, the latter in
        pairs. ``said`` has captions, answers and relevance scene by scene (``Outcome``), from which the metrics are
        counted again when a measurement is resumed; reports from before it lack it.
    """

    world: str
    model: str
    weights: str
    seed: int
    scenes: int
    noise: float
    policies: dict[str, dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready data."""
        return asdict(self)

    def to_json(self) -> str:
        """Return the report as JSON text."""
        return json.dumps(self.to_dict(), indent=1)

    def tables(self) -> Group:
        """Return rich tables that fit 80 columns: captions, differences, closed and open questions, grounding."""
        heading = f"{self.world} world, seed {self.seed}, {self.scenes} scenes, noise {self.noise}, {self.model} model"
        return world_tables(load_world(self.world), heading, self.policies)


@contextmanager
def _under(model: PreTrainedModel, policy: Policy | None) -> Iterator[Any]:
    with nullcontext() if policy is None else steering(model, policy) as trace:
        yield trace


def for_questions(measured: Measured) -> Measured:
    """Return a policy without its plausibility mask, if it has one: closed questions need finite margins."""
    if isinstance(measured, Against):
        return replace(measured, policy=replace(measured.policy, plausibility=0.0))
    unmasked: Any = measured
    masks = is_dataclass(measured) and "plausibility" in {item.name for item in fields(measured)}
    return replace(unmasked, plausibility=0.0) if masks else measured


def contexts(
    model: PreTrainedModel, processor: Any, evaluation: EvaluationSet, measured: Measured
) -> tuple[Under, Around | None]:
    """Return what makes the context of the whole set, and that of each batch."""
    if isinstance(measured, Against):
        return nullcontext, _against(model, processor, evaluation, measured)
    return lambda: _under(model, measured), None


def timed_captions(
    model: PreTrainedModel, processor: Any, evaluation: EvaluationSet, policy: Policy | None, ban: bool
) -> Any:
    """Return captions, seconds per generated token and the trace."""
    return _timed(model, processor, evaluation, lambda: _under(model, policy), None, ban)


def _timed(
    model: PreTrainedModel,
    processor: Any,
    evaluation: EvaluationSet,
    under: Under,
    around: Around | None,
    ban: bool = False,
) -> Any:
    start = _clock(model)
    with under() as trace:
        captions = generate_captions(model, processor, evaluation, no_repeat=ban, around=around)
    seconds = _clock(model) - start
    world = evaluation.world
    tokens = sum(len(world.caption_tokens(processor, caption)) + (EOS in caption) for caption in captions)
    return captions, seconds / tokens, trace


def _clock(model: PreTrainedModel) -> float:
    """Return a time in seconds: of one thread on a CPU its own, which other work on the machine hardly changes.

    The processor time of several threads is no measure: a thread that waits for another one spins.
    """
    alone = model.device.type == "cpu" and torch.get_num_threads() == 1
    return time.process_time() if alone else time.perf_counter()


def measure_one(
    model: PreTrainedModel,
    processor: Any,
    evaluation: EvaluationSet,
    measured: Measured,
    plain: Result | None,
) -> tuple[dict[str, Any], Result]:
    """Measure one policy.

    Parameters
    ----------
    model, processor, evaluation : object
        What is steered, and on what.
    measured : Policy, Against or None
        None is the plain model.
    plain : Result or None
        Of the same evaluation set; None if this is the plain model.

    Returns
    -------
    dict
        The row of ``WorldReport.policies``.
    Result
        Seconds and metrics of this policy.
    """
    policy = measured.policy if isinstance(measured, Against) else measured
    under, around = contexts(model, processor, evaluation, measured)
    captions, seconds, trace = _timed(model, processor, evaluation, under, around)
    asked, around_asked = contexts(model, processor, evaluation, for_questions(measured))
    responses = respond(model, processor, evaluation, under, asked, captions, around, around_asked)
    outcome = Outcome(responses, caption_relevance(model, processor, evaluation, captions))
    observer = _observer(policy)
    share = _share(trace) if observer is None else _observed_share(model, processor, evaluation, observer)
    metrics, found = counted(outcome, evaluation, plain)
    row = {
        "settings": json.loads(_settings(policy)),
        "against": measured.medium if isinstance(measured, Against) else None,
        f"{evaluation.world.modality}_share": share,
        "cost": seconds / (plain.seconds if plain else seconds),
        **metrics,
        "said": outcome.to_dict(evaluation),
    }
    return row, Result(seconds, found)


def _plain(
    model: PreTrainedModel, processor: Any, evaluation: EvaluationSet, row: dict[str, Any] | None, said: Outcome | None
) -> tuple[dict[str, Any], Result, bool]:
    """Return the row and the result of the plain model, and whether they are those of a report.

    What the report says is taken if the plain captions that are generated now are the same; if not, it comes from
    another machine or library, and the plain model is measured. The seconds are always those of now, because a cost is
    a ratio of times of one machine.
    """
    if row is not None and said is not None:
        captions, seconds, _ = timed_captions(model, processor, evaluation, None, False)
        if captions == said.responses.captions:
            metrics, found = counted(said, evaluation, None)
            return row | metrics, Result(seconds, found), True
    return *measure_one(model, processor, evaluation, None, None), False


def _settings(policy: Policy | None) -> str:
    """Return a policy as JSON text, comparable with what a report holds."""
    return json.dumps(None if policy is None else policy_to_dict(policy))


def _same(row: Mapping[str, Any], measured: Measured) -> bool:
    """Whether a report's row is of a policy; a field that an older report lacks has its default."""
    policy, medium = (measured.policy, measured.medium) if isinstance(measured, Against) else (measured, None)
    settings = row["settings"]
    if settings is None or policy is None:
        return settings is None and policy is None
    return bool(policy_from_dict(settings) == policy) and row.get("against") == medium


def _against(model: PreTrainedModel, processor: Any, evaluation: EvaluationSet, measured: Against) -> Around:
    """Return what makes the context of a batch: the contrast with its other media."""
    world = evaluation.world
    other = {"nothing": world.nothing, "background": evaluation.background}[measured.medium]

    def around(media: Sequence[Any], prompts: Sequence[str]) -> AbstractContextManager[Any]:
        inputs = world.batch(processor, [other(medium) for medium in media], prompts).to(model.device)
        return steering(model, measured.policy, counterfactual=inputs)

    return around


def _share(trace: Any) -> float | None:
    steps = [] if trace is None else trace.steps  # a contrast with other media has a session per batch
    shares = [float(step.share_after.mean()) for step in steps if step.share_after is not None]
    return number(float(np.mean(shares))) if shares else None


def _observer(policy: Policy | None) -> Policy | None:
    """Return a policy that records shares where this one records none and could."""
    if isinstance(policy, Edit) and policy.forward_method is not None:
        return replace(policy, direction="backward")
    return Observe() if policy is None else None


def _observed_share(
    model: PreTrainedModel, processor: Any, evaluation: EvaluationSet, observer: Policy
) -> float | None:
    few = replace(evaluation, scenes=evaluation.scenes[:OBSERVED], media=evaluation.media[:OBSERVED])
    with steering(model, observer) as trace:
        generate_captions(model, processor, few)
    return _share(trace)


def measure_policies(
    world: World,
    model: PreTrainedModel,
    processor: Any,
    policies: Mapping[str, Measured],
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
    policies : mapping of str to Policy, Against or None
        None is the plain model; it is measured first in any case, under the name ``vanilla``.
    seed, scenes, noise : int, int, float
        Of the evaluation set.
    model_name : str
        For the report.
    done : mapping, optional
        Rows of an interrupted run with the same seed, scenes, noise and model, which are kept where their
        settings are the same or their policy is not named. Metrics of those that hold what was said of this
        evaluation set are counted anew. If the plain model says something else now, all named ones are measured again.
    progress : callable, optional
        Called with the report so far after every policy.

    Returns
    -------
    WorldReport

    Raises
    ------
    ValueError
        For a contrast with a medium that a world does not make, a policy named ``vanilla``, or a damaged row, before
        anything is computed.
    """
    noise = world.default_noise if noise is None else noise
    for name, policy in policies.items():
        if isinstance(policy, Against) and policy.medium not in _MEDIA:
            raise ValueError(f"{name}: a world has no medium {policy.medium!r}; it has {' and '.join(_MEDIA)}.")
    if policies.get("vanilla") is not None:
        raise ValueError("vanilla is the plain model; give the policy another name.")
    evaluation = world.evaluation_set(seed, scenes=scenes, noise=noise)
    weights = weights_hash(model)
    done = done or {}
    said = {name: held(name, row, evaluation) for name, row in done.items()}
    first, plain, kept = _plain(model, processor, evaluation, done.get("vanilla"), said.get("vanilla"))
    rows = {"vanilla": first}
    for name, row in done.items():
        outcome = said[name]
        if name == "vanilla" or (name in policies and not _same(row, policies[name])):
            continue
        if kept and outcome is not None:
            rows[name] = row | counted(outcome, evaluation, plain)[0]
        elif name not in policies or "said" not in row:
            rows[name] = row

    def report() -> WorldReport:
        ordered = {name: rows[name] for name in dict.fromkeys(("vanilla", *done, *policies)) if name in rows}
        return WorldReport(world.name, model_name, weights, seed, scenes, noise, ordered)

    for name in dict.fromkeys(("vanilla", *policies)):
        if name not in rows:
            rows[name] = measure_one(model, processor, evaluation, policies[name], plain)[0]
        if progress is not None:
            progress(report())
    return report()
