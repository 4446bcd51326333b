"""One recorded example: its rows, what is explained, and the relevance of a method, also under noise."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lime_xai.attribution.attribute import attribute
from lime_xai.attribution.deletion import check_deletable
from lime_xai.attribution.groups import Groups, group_tokens
from lime_xai.attribution.methods.base import seeded
from lime_xai.attribution.methods.lookup import MethodLike, as_method
from lime_xai.attribution.methods.registry import METHODS
from lime_xai.attribution.problem import Problem, problems
from lime_xai.attribution.replacement import DELETION, check_perturbation, substitute_of
from lime_xai.attribution.targets import IGNORED, resolve_target
from lime_xai.model.pieces import token_labels
from lime_xai.model.positions import Positions
from lime_xai.model.prompt import Prompt, read_prompt
from lime_xai.model.records import ShortRepr

from .example import Example
from .robustness import DRAWS, cascade, cascade_depths, decoder_layers, draw_noise, with_noise
from .scored import TokenTask


@dataclass(frozen=True)
class Settings:
    """How examples are recorded: processor, kinds of replacement, rows per pass, and seed."""

    processor: Any
    replacements: tuple[str, ...]
    rows_per_pass: int
    seed: int


@dataclass(frozen=True, eq=False, repr=False)
class RecordedExample(ShortRepr):
    """An example whose prompt was read and recorded; its images and sounds are not encoded again.

    Attributes
    ----------
    prompt : Prompt
        Recorded, with its answer.
    example : Example
        With a target.
    settings : Settings
        As given.
    rows : tuple of tuple of Problem
        ``[B][G]``: one per explained token.
    groups : tuple of Groups
        ``[B]``.
    labels : tuple of tuple of str, or None
        ``[B][T]``.
    """

    prompt: Prompt
    example: Example
    settings: Settings
    rows: tuple[tuple[Problem, ...], ...]
    groups: tuple[Groups, ...]
    labels: tuple[tuple[str, ...], ...] | None

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def truth_of(self, index: int) -> Tensor | None:
        """Return the true region of a row, ``[T]``, answer included."""
        truth = self.example.truth
        if truth is None:
            return None
        found = truth if truth.dim() == 1 else truth[index]
        extra = len(self.rows[index][0].input_ids) - len(found)
        return torch.nn.functional.pad(found, (0, extra))

    @cached_property
    def tasks(self) -> list[tuple[int, int, list[TokenTask]]]:
        """For every explained token: row, place in the answer, and one ``TokenTask`` per kind of replacement."""
        found = []
        for b, tokens in enumerate(self.rows):
            kinds = [substitute_of(tokens[0], kind) for kind in self.settings.replacements]
            labels = None if self.labels is None else self.labels[b]
            for g, problem in enumerate(tokens):
                if bool((problem.ids == IGNORED).all()):
                    continue
                shared = (self.truth_of(b), labels, self.settings.rows_per_pass, self.settings.seed)
                found.append((b, g, [TokenTask(problem, self.groups[b], kind, *shared) for kind in kinds]))
        return found

    def explain(self, method: MethodLike, prompt: Prompt | None = None) -> Tensor:
        """Return the relevance of a method, ``[B, G, T]`` float32; what the method draws is drawn with the seed.

        Parameters
        ----------
        method : str, TransformerComposite or AttributionMethod
            The method.
        prompt : Prompt, optional
            In place of the example's: with noise.
        """
        with seeded(self.settings.seed):
            found = attribute(
                self.prompt.model,
                prompt or self.prompt,
                self.example.target,
                self._seeded(method),
                groups=self.groups,
            )
        return found.relevance if found.relevance.dim() == 3 else found.relevance[:, None]

    def _seeded(self, method: MethodLike) -> MethodLike:
        """Return a named method with the seed of the comparison, if it has one; a user's own method keeps its seed."""
        if not isinstance(method, str) or method not in METHODS:
            return method
        found: Any = as_method(method)
        seeds = is_dataclass(found) and "seed" in {item.name for item in fields(found)}
        return replace(found, seed=self.settings.seed) if seeds else method

    def under_noise(self, method: MethodLike) -> Tensor:
        """Return the relevance under each draw of noise, ``[D, B, G, T]``."""
        call = self.prompt.recording().calls[0]
        attended = self.prompt.positions.attended
        found = []
        for draw in range(DRAWS):
            noise = draw_noise((call.embeddings, *call.deep_features), attended, self.settings.seed * DRAWS + draw)
            found.append(self.explain(method, self.prompt.with_inputs(partial(with_noise, noise=noise))))
        return torch.stack(found)

    def randomised(self, method: MethodLike) -> Tensor:
        """Return the relevance after more and more layers were randomised, ``[D, B, G, T]``.

        The decoder's arguments do not depend on its layers, so that the recorded ones are used.
        """
        layers = decoder_layers(self.prompt.replayer.decoder)
        found = []
        with cascade(layers, self.settings.seed) as deepen:
            for depth in cascade_depths(len(layers)):
                deepen(depth)
                found.append(self.explain(method))
        return torch.stack(found)


def record_example(model: PreTrainedModel, example: Example, settings: Settings) -> RecordedExample:
    """Read and record the prompt of an example, and cut it into rows, tokens and groups.

    Raises
    ------
    ValueError, TypeError
        For bad inputs, target or truth.
    FloatingPointError
        For NaN or infinite logits.
    """
    prompt = read_prompt(model, example.inputs, processor=settings.processor)
    ids = prompt.positions.input_ids
    given = ids if "input_ids" in prompt.inputs else None
    goal = resolve_target(example.target, ids.shape[0], prompt.vocabulary, ids.device, prompt.processor, given)
    _check_truth(example.truth, prompt.positions)
    for kind in settings.replacements:
        check_perturbation(kind, prompt)
    recording = prompt.recording(goal.continuation, logits=True)
    if recording.logits is None:
        raise RuntimeError("The prompt was recorded without logits.")
    if goal.ids is None:
        goal = goal.chosen(recording.logits)
        example = replace(example, target=None if goal.ids is None else goal.ids[:, 0])
    else:
        goal = goal.chosen(recording.logits)
    with torch.inference_mode(False):
        whole = list(problems(prompt, recording, goal.ordinary()))
        if DELETION in settings.replacements:  # refused here, before any method runs
            for problem in whole:
                check_deletable(problem)
    found = token_labels(recording.positions.input_ids, prompt.processor)
    labels = None if found is None else tuple(map(tuple, found))
    return RecordedExample(
        prompt=prompt,
        example=example,
        settings=settings,
        rows=tuple(_tokens(problem) for problem in whole),
        groups=tuple(group_tokens(problem, None if labels is None else labels[b]) for b, problem in enumerate(whole)),
        labels=labels,
    )


def _tokens(problem: Problem) -> tuple[Problem, ...]:
    """Return the problem of each explained token alone."""
    place = torch.arange(len(problem.ids), device=problem.ids.device)
    return tuple(replace(problem, ids=problem.ids.masked_fill(place != g, IGNORED)) for g in range(len(place)))


def _check_truth(truth: Tensor | None, positions: Positions) -> None:
    """Refuse a true region that is no mask, is empty, or holds positions that are not perceptual."""
    if truth is None:
        return
    shape = positions.input_ids.shape
    if truth.dtype != torch.bool or truth.shape not in (shape, shape[1:]):
        raise ValueError(
            f"truth is {truth.dtype} of shape {tuple(truth.shape)}; expected a bool mask of {tuple(shape[1:])} or "
            f"{tuple(shape)}, one entry per prompt token."
        )
    full = truth.to(positions.input_ids.device).expand(shape)
    if not bool(full.any(-1).all()):
        raise ValueError("truth marks no position in some row; pass None where there is no true region.")
    outside = full & ~positions.perceptual
    if bool(outside.any()):
        where = outside.any(0).nonzero()[:, 0].tolist()
        raise ValueError(f"truth marks positions {where}, which hold no image, video or sound; mark perceptual ones.")
