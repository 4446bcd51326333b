"""Grounding and reliance, as in the paper's table 4; the definitions are ours, the paper gives none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import PreTrainedModel

from lime_xai.attribution.attribute import attribute
from lime_xai.attribution.methods.lookup import MethodLike, as_method
from lime_xai.attribution.targets import TargetLike
from lime_xai.decoding.policy import Policy
from lime_xai.decoding.trace import StepTrace
from lime_xai.evaluation.attributions.identity import described
from lime_xai.evaluation.bootstrap import Floats
from lime_xai.generation.checks import check_counterfactual, check_policies
from lime_xai.generation.steer import steer
from lime_xai.model.arguments import check_processor
from lime_xai.model.chat import Request, make_inputs, placed
from lime_xai.model.checks import checked_replayer
from lime_xai.model.images import read_image
from lime_xai.model.layouts.reading import NotKnown
from lime_xai.model.modalities import placeholder_ids
from lime_xai.model.prompt import Prompt, read_prompt
from lime_xai.model.sounds import heard_sound
from lime_xai.policies.registry import PolicyLike, as_policies, policy_to_dict
from lime_xai.storage.store import check_identity, check_writable
from lime_xai.storage.weights import weights_hash
from lime_xai.values.checking import Count, check_arguments

from .examples import GroundingExample, check_examples, examples_hash
from .regions import TimeRegion
from .results import EVEN, RANDOM, GroundingResult
from .tokens import TokenRegion, picture_tokens, sound_tokens
from .values import STEP_MEASURES, relevance_values, step_values

Say = Callable[[str], None]

_PAUSE = 1.0
"""Seconds between two writings of a file: a kill loses what was measured since."""


@dataclass(frozen=True)
class _System:
    """Whose relevance is measured: that of a method, for what is said under a policy."""

    method: MethodLike
    policy: str | None = None


@dataclass(frozen=True, eq=False)
class _Asked:
    """What stays the same over the examples."""

    model: PreTrainedModel
    processor: Any
    policies: Mapping[str, Sequence[Policy]] | None
    systems: Mapping[str, _System]
    max_new_tokens: int
    note: Say


def measure_grounding(
    model: PreTrainedModel,
    processor: Any,
    examples: Sequence[GroundingExample],
    method: str | Sequence[str] | Mapping[str, MethodLike] = "attnlrp",
    *,
    policies: Mapping[str, PolicyLike] | None = None,
    max_new_tokens: Count = 16,
    out: str | Path | None = None,
    most: Count | None = None,
    progress: Callable[[int, int], None] | None = None,
    note: Say | None = None,
) -> GroundingResult:
    r"""Measure where the relevance for an answer lies, and how much of it is perceptual.

    With relevance :math:`R_i` of position :math:`i`, the positions :math:`P` of tokens that stand for a part of the
    picture or sound, and those in the region :math:`G \subset P`, to which a token belongs if at least half of its area
    or time lies in it:

    - ``grounding``: :math:`\sum_{i \in G} \max(R_i, 0) / \sum_{i \in P} \max(R_i, 0)`; 0 if no relevance is positive.
    - ``pointing``: 1 if the position of :math:`P` with the largest relevance is in :math:`G`; equal ones count their
      share.
    - ``reliance``: :math:`\sum_{i \in M} |R_i| / \sum_i |R_i|` with all perceptual positions :math:`M`; the beginning
      of the sequence, an attention sink, is left out of both sums.
    - ``grounding_before``, ``reliance_before``: the same of the relevance that a policy recorded at its steps before it
      changed anything; ``grounding_after``, ``reliance_after``: with its changes of keys and values. They are means
      over the tokens of the answer but the one that ends it. ``Edit`` in backward direction and ``Observe`` record
      relevance, of the objective's target and in the form of the scope; where nothing was recorded there is no value.

    These are our readings of the two columns of the paper's table 4, which gives no definition.

    Parameters
    ----------
    model, processor : object
        As ``from_pretrained`` returns them, in eval mode; the processor has a chat template.
    examples : sequence of GroundingExample
        As ``read_grounding`` returns them.
    method : str, sequence of str, or mapping of str to method
        As in ``compare_attributions``.
    policies : mapping of str to Policy, str, list or None, optional
        By name; None is the model alone. Each answers greedily, and relevance is that of its answer, all tokens but the
        one that ends it, in the model without a policy; answers of the examples are not used. Without policies, the
        answer of the example is attributed, or else the first token that the model would choose.
    max_new_tokens : int
        Of an answer under a policy at most.
    out : str or Path, optional
        JSON file, written at least once per second of work and at the end; an interrupted measurement goes on from it.
    most : int, optional
        Examples that this call measures at most; a later one goes on from the file.
    progress : callable, optional
        Told the number of examples that are done, and that of all, at the beginning and after each.
    note : callable, optional
        Told what is left out of images, and what is not known of sounds.

    Returns
    -------
    GroundingResult
        An example whose region cannot be given in tokens has a reason in place of values.

    Raises
    ------
    ValueError, TypeError, OSError
        For a model, examples, methods, policies or a file that cannot be used, before anything is computed. For a
        picture or a sound that is damaged, naming file and line: what was measured before is kept.
    """
    check_arguments(measure_grounding, max_new_tokens=max_new_tokens, most=most)
    checked_replayer(model)
    check_processor(processor)
    methods = _methods(method)
    named = None if policies is None else {key: _policy(policy) for key, policy in policies.items()}
    _check(model, examples, named)
    systems = _systems(methods, named)
    for name in {EVEN, RANDOM} & set(systems):
        raise ValueError(f"A method or policy is named {name!r}, which is a baseline's name; give it another.")
    asked = _Asked(model, processor, named, systems, max_new_tokens, note or _silent)
    identity = {
        "examples": examples_hash(examples),
        "model": weights_hash(model),
        "methods": {name: described(one) for name, one in methods.items()},
        "policies": None if named is None else {key: list(map(policy_to_dict, some)) for key, some in named.items()},
        "max_new_tokens": None if named is None else max_new_tokens,
    }
    with _file(out, identity, asked, model) as (rows, keep):
        if progress is not None:
            progress(len(rows), len(examples))
        for example in examples[len(rows) :][:most]:
            rows.append({"id": example.id, "cluster": example.cluster, **_measured(asked, example)})
            keep()
            if progress is not None:
                progress(len(rows), len(examples))
    return GroundingResult(identity, _setting(model), list(asked.systems), rows)


def _silent(_: str) -> None:
    """Say nothing."""


def _methods(method: str | Sequence[str] | Mapping[str, MethodLike]) -> dict[str, MethodLike]:
    if isinstance(method, Mapping):
        found = dict(method)
    else:
        found = {name: name for name in ([method] if isinstance(method, str) else method)}
    if not found:
        raise ValueError("method is empty; name at least one.")
    for one in found.values():
        as_method(one)
    return found


def _policy(policy: PolicyLike) -> Sequence[Policy]:
    return () if policy is None else as_policies(policy)


def _systems(methods: Mapping[str, MethodLike], policies: Mapping[str, Sequence[Policy]] | None) -> dict[str, _System]:
    """Return the systems by name: methods, policies, or both; the first is what others are compared with."""
    if policies is None:
        return {name: _System(one) for name, one in methods.items()}
    if len(methods) == 1:
        (one,) = methods.values()
        return {name: _System(one, name) for name in policies}
    return {f"{policy}, {name}": _System(one, policy) for policy in policies for name, one in methods.items()}


def _check(
    model: PreTrainedModel, examples: Sequence[GroundingExample], policies: Mapping[str, Sequence[Policy]] | None
) -> None:
    """Refuse examples and policies that do not fit the model."""
    check_examples(examples)
    known = placeholder_ids(model.config)
    for example in examples:
        if example.modality not in known:
            raise ValueError(
                f"{example.place or example.id}: {type(model).__name__} has no placeholder for {example.modality} in "
                "its config; these examples need another model."
            )
    if policies is not None and not policies:
        raise ValueError("policies is empty; name at least one, or leave it out.")
    for some in (policies or {}).values():
        check_policies(model, some)
        check_counterfactual(some, given=False)


def _setting(model: PreTrainedModel) -> dict[str, Any]:
    return {
        "device": str(model.device),
        "dtype": str(model.dtype),
        "versions": {name: version(name) for name in ("lime_xai", "torch", "transformers")},
    }


@contextmanager
def _file(
    out: str | Path | None, identity: Mapping[str, Any], asked: _Asked, model: PreTrainedModel
) -> Iterator[tuple[list[dict[str, Any]], Callable[[], None]]]:
    """Context of a file: the rows that it holds, and a function that writes it if the last time is a while ago."""
    rows: list[dict[str, Any]] = []
    if out is None:
        yield rows, lambda: None
        return
    path = check_writable(out)
    if path.is_file():
        kept = GroundingResult.load(path)
        check_identity(path, "grounding", kept.identity, identity)
        rows.extend(kept.rows)
    start, written = len(rows), time.monotonic()

    def write() -> None:
        GroundingResult(dict(identity), _setting(model), list(asked.systems), rows).save(path)

    def keep() -> None:
        nonlocal written
        if time.monotonic() - written >= _PAUSE:
            write()
            written = time.monotonic()

    try:
        yield rows, keep
    finally:
        if len(rows) > start or not path.exists():
            write()


def _measured(asked: _Asked, example: GroundingExample) -> dict[str, Any]:
    """Return the values of an example, or why they are not known."""
    try:
        prompt, region = _read(asked, example)
    except NotKnown as unknown:
        return {"unknown": str(unknown)}
    except ValueError as error:
        raise type(error)(f"{example.place or example.id}: {error}") from error
    answers = _answers(asked, example, prompt)
    values: dict[str, dict[str, float | None]] = {}
    for name, system in asked.systems.items():
        answer = answers[system.policy]
        values[name] = dict.fromkeys(("grounding", "pointing", "reliance", *STEP_MEASURES))
        if not answer.silent:
            found = attribute(asked.model, prompt, answer.target, system.method, per_token=False)
            values[name] |= relevance_values(found.relevance[0], found.attended[0], prompt, region)
            values[name] |= step_values(answer.steps, prompt, region)
    attended = prompt.positions.attended[0].cpu()
    noise = torch.from_numpy(np.random.default_rng(list(example.id.encode())).standard_normal(len(attended)))
    values[EVEN] = relevance_values(torch.ones(len(attended)), attended, prompt, region)
    values[RANDOM] = relevance_values(noise, attended, prompt, region)
    return {"values": values, "tokens": len(region.positions), "inside": int(region.inside.sum())}


def _read(asked: _Asked, example: GroundingExample) -> tuple[Prompt, TokenRegion]:
    """Return the prompt of an example and the tokens of its region."""
    prompt = example_prompt(asked.model, asked.processor, example, asked.note)
    if isinstance(example.region, TimeRegion):
        return prompt, sound_tokens(prompt, example.region)

    def ask(image: Image.Image) -> Prompt:
        return _prompt(asked.model, asked.processor, Request(example.question, images=[image]))

    coverage: Floats = example.region.coverage(read_image(example.medium, _silent).size)
    return prompt, picture_tokens(prompt, coverage, ask)


def example_prompt(model: PreTrainedModel, processor: Any, example: GroundingExample, note: Say) -> Prompt:
    """Return the prompt of an example.

    Parameters
    ----------
    model, processor, example, note : object
        As in ``measure_grounding``.

    Raises
    ------
    ValueError
        For a picture or sound that is damaged.
    """
    if isinstance(example.region, TimeRegion):
        request = Request(example.question, sounds=[heard_sound(example.medium, processor, note)])
    else:
        request = Request(example.question, images=[read_image(example.medium, note)])
    return _prompt(model, processor, request)


def _prompt(model: PreTrainedModel, processor: Any, request: Request) -> Prompt:
    return read_prompt(model, placed(make_inputs(model, processor, request), model), processor=processor)


@dataclass(frozen=True)
class _Answer:
    """What is attributed, whether it is nothing, and what a policy noted at its tokens."""

    target: TargetLike
    silent: bool = False
    steps: Sequence[StepTrace] = ()


def _answers(asked: _Asked, example: GroundingExample, prompt: Prompt) -> dict[str | None, _Answer]:
    """Return what is attributed, by policy."""
    if asked.policies is None:
        return {None: _Answer(example.answer)}
    ends = asked.model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    generate: Any = asked.model.generate
    settings: dict[str, Any] = {"max_new_tokens": asked.max_new_tokens, "do_sample": False}
    found: dict[str | None, _Answer] = {}
    for name, policies in asked.policies.items():
        steps: Sequence[StepTrace] = ()
        if policies:
            output = steer(asked.model, prompt, list(policies), **settings)
            sequences, steps = output.sequences, output.trace.steps
        else:
            sequences = generate(**prompt.inputs, **settings)
        tokens = sequences[0, prompt.positions.length :].tolist()
        said = [token for token in tokens if token not in ends]
        kept = [step for step, token in zip(steps, tokens, strict=True) if token not in ends] if steps else ()
        found[name] = _Answer(said, not said, kept)
    return found
