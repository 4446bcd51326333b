"""One example made ready: its rows, what is explained, and how to ask a method about it again and again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from lime_rules import TransformerComposite
from lime_xai.attribution import attribute
from lime_xai.baselines import BASELINES, Baseline
from lime_xai.baselines.base import seeded
from lime_xai.checks import check_finite, check_inputs, check_model
from lime_xai.groups import Groups, group_tokens
from lime_xai.modalities import lengthened, modality_masks
from lime_xai.problem import Problem, problems
from lime_xai.recording import record
from lime_xai.replacement import replacement
from lime_xai.replay import Replayer
from lime_xai.targets import IGNORED, TargetLike, resolve_target, token_labels

from .case import Row
from .robustness import DRAWS, cascade, cascade_depths, decoder_layers, draw_noise, noisy

Method = str | TransformerComposite | Baseline


@dataclass(frozen=True, eq=False)
class Example:
    """One prompt, or a batch of prompts, to explain.

    Attributes
    ----------
    inputs : mapping
        What a processor returns, ``B`` rows.
    target : TargetLike
        As in ``attribute``; None: the target given to ``compare_attributions``.
    truth : Tensor or None
        ``[T]`` or ``[B, T]`` bool over the prompt: the true region, among perceptual positions.
    cluster : str, int or None
        Examples of one cluster (pictures of one scene, questions about one sound) are drawn together by the bootstrap.
        None: every row is its own.
    """

    inputs: Mapping[str, Any]
    target: TargetLike = None
    truth: Tensor | None = None
    cluster: str | int | None = None


@dataclass(frozen=True)
class Settings:
    """How examples are prepared: processor, kinds of replacement, rows per pass, and seed."""

    processor: Any
    replacements: tuple[str, ...]
    rows_per_pass: int
    seed: int


@dataclass(frozen=True, eq=False)
class Prepared:
    """An example whose prompt was recorded.

    Attributes
    ----------
    model : PreTrainedModel
        Explained.
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
    inputs : tuple of Tensor
        Embeddings ``[B, T, d]`` of the prompt, and deep visual features ``[N, d]``.
    attended : Tensor
        ``[B, T]`` of the prompt.
    """

    model: PreTrainedModel
    example: Example
    settings: Settings
    rows: tuple[tuple[Problem, ...], ...]
    groups: tuple[Groups, ...]
    labels: tuple[tuple[str, ...], ...] | None
    inputs: tuple[Tensor, ...]
    attended: Tensor

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
    def questions(self) -> list[tuple[int, int, list[Row]]]:
        """For every explained token: row, place in the answer, and one ``Row`` per kind of replacement."""
        found = []
        for b, tokens in enumerate(self.rows):
            kinds = [replacement(tokens[0], kind) for kind in self.settings.replacements]
            labels = None if self.labels is None else self.labels[b]
            for g, problem in enumerate(tokens):
                if bool((problem.ids == IGNORED).all()):
                    continue
                shared = (self.truth_of(b), labels, self.settings.rows_per_pass, self.settings.seed)
                found.append((b, g, [Row(problem, self.groups[b], kind, *shared) for kind in kinds]))
        return found

    def explain(self, method: Method) -> Tensor:
        """Return the relevance of a method, ``[B, G, T]`` float32; what the method draws is drawn with the seed."""
        asked = {"processor": self.settings.processor, "groups": self.groups}
        with seeded(self.settings.seed):
            found = attribute(self.model, self.example.inputs, self.example.target, self._seeded(method), **asked)
        return found.relevance if found.relevance.dim() == 3 else found.relevance[:, None]

    def _seeded(self, method: Method) -> Method:
        """Return a method that draws with the seed of the comparison where it is named; a user's own keeps its seed."""
        if not isinstance(method, str) or method not in BASELINES:
            return method
        found: Any = BASELINES[method]()
        named = {item.name for item in fields(found)}
        baseline: Baseline = replace(found, seed=self.settings.seed) if "seed" in named else found
        return baseline

    def under_noise(self, method: Method) -> Tensor:
        """Return the relevance under each draw of noise, ``[D, B, G, T]``."""
        decoder, found = Replayer(self.model).decoder, []
        for draw in range(DRAWS):
            noise = draw_noise(self.inputs, self.attended, self.settings.seed * DRAWS + draw)
            with noisy(decoder, noise):
                found.append(self.explain(method))
        return torch.stack(found)

    def randomised(self, method: Method) -> Tensor:
        """Return the relevance after ever more layers were randomised, ``[D, B, G, T]``."""
        layers = decoder_layers(Replayer(self.model).decoder)
        found = []
        with cascade(layers, self.settings.seed) as deepen:
            for depth in cascade_depths(len(layers)):
                deepen(depth)
                found.append(self.explain(method))
        return torch.stack(found)


def prepare(model: PreTrainedModel, example: Example, settings: Settings) -> Prepared:
    """Record the prompt of an example and cut it into rows, tokens and groups.

    Raises
    ------
    ValueError, TypeError
        For bad inputs, target or truth.
    FloatingPointError
        For NaN or infinite logits.
    """
    check_model(model)
    ids = check_inputs(model, example.inputs)
    vocabulary = int(model.config.get_text_config().vocab_size)
    goal = resolve_target(example.target, ids.shape[0], vocabulary, ids.device, settings.processor)
    masks = modality_masks(model.config, ids)
    _check_truth(example.truth, masks, ids)
    replayer = Replayer(model)
    with torch.inference_mode(False):
        recording = record(replayer, example.inputs, ids, goal.continuation)
    check_finite(recording.logits.flatten(0, 1))
    if goal.ids is None:
        chosen = recording.logits[:, -1].argmax(-1)
        goal, example = replace(goal, ids=chosen[:, None]), replace(example, target=chosen)
    masks = lengthened(masks, recording.input_ids.shape[1])
    whole = list(problems(replayer, recording, goal, masks))
    found = token_labels(recording.input_ids, settings.processor)
    labels = None if found is None else tuple(map(tuple, found))
    first = recording.calls[0]
    return Prepared(
        model=model,
        example=example,
        settings=settings,
        rows=tuple(_tokens(problem) for problem in whole),
        groups=tuple(group_tokens(problem, None if labels is None else labels[b]) for b, problem in enumerate(whole)),
        labels=labels,
        inputs=(first.embeddings, *first.kwargs.get("deepstack_visual_embeds", ())),
        attended=recording.attended[:, : first.length],
    )


def _tokens(problem: Problem) -> tuple[Problem, ...]:
    """Return the problem of each explained token alone."""
    place = torch.arange(len(problem.ids), device=problem.ids.device)
    return tuple(replace(problem, ids=problem.ids.masked_fill(place != g, IGNORED)) for g in range(len(place)))


def _check_truth(truth: Tensor | None, masks: Mapping[str, Tensor], ids: Tensor) -> None:
    """Refuse a true region that is no mask, is empty, or holds positions where nothing is perceived."""
    if truth is None:
        return
    if truth.dtype != torch.bool or truth.shape not in (ids.shape, ids.shape[1:]):
        raise ValueError(
            f"truth is {truth.dtype} of shape {tuple(truth.shape)}; expected a bool mask of {tuple(ids.shape[1:])} or "
            f"{tuple(ids.shape)}, one entry per prompt token."
        )
    full = truth.to(ids.device).expand(ids.shape)
    if not bool(full.any(-1).all()):
        raise ValueError("truth marks no position in some row; pass None where there is no true region.")
    outside = full.clone()
    for mask in masks.values():
        outside &= ~mask
    if bool(outside.any()):
        where = outside.any(0).nonzero()[:, 0].tolist()
        raise ValueError(f"truth marks positions {where}, which hold no image, video or sound; mark perceptual ones.")
