"""Where the relevance of the true names in captions lies: on what was perceived, and on the thing that is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from lime_xai.attribution.attribute import attribute
from lime_xai.model.prompt import read_prompt
from lime_xai.worlds.shared.evaluation import EvaluationSet
from lime_xai.worlds.shared.records import Rows

BATCH = 25
"""Names per batch."""

SHARE, INSIDE = "share", "inside"


def caption_relevance(
    model: PreTrainedModel, processor: Any, evaluation: EvaluationSet, captions: Sequence[str]
) -> dict[str, Rows]:
    r"""Attribute every true name of the captions in the model without a policy (AttnLRP).

    With relevance :math:`R_t` of the position :math:`t`, perceptual positions :math:`P` and those of the named thing
    :math:`E \subset P` (the cell of an object, the tokens during which an event sounds):

    - ``share``: :math:`\sum_{t \in P} |R_t| / \sum_t |R_t|`, the reliance on what was perceived;
    - ``inside``: :math:`\sum_{t \in E} R_t^+ / \sum_{t \in P} R_t^+`, which is temporal grounding for sounds. A name
      without positive relevance on any perceptual position is left out of it, one without any relevance out of both.

    Parameters
    ----------
    model, processor, evaluation : object
        What captioned, and what.
    captions : sequence of str
        One per scene, generated under any policy.

    Returns
    -------
    dict of str to Rows
        ``share`` and ``inside``, one value per true name.

    Raises
    ------
    ValueError
        If the processor makes other tokens of a prompt with the beginning of a caption than of that caption.
    """
    world = evaluation.world
    names = {token: obj for obj, token in enumerate(world.name_tokens(processor))}
    marks = _marks(model, processor, evaluation)
    told: list[tuple[int, list[int]]] = []  # the scene, and the tokens of its caption up to a true name
    for index, (caption, scene) in enumerate(zip(captions, evaluation.scenes, strict=True)):
        ids = world.caption_tokens(processor, caption)
        told += [(index, ids[: end + 1]) for end, token in enumerate(ids) if names.get(token) in scene.present]
    batches = [(_after_prompt, [one]) for one in told if marks.intersection(one[1])]
    plain = [one for one in told if not marks.intersection(one[1])]
    batches += [(_in_prompt, plain[start : start + BATCH]) for start in range(0, len(plain), BATCH)]
    found: dict[str, list[tuple[int, float]]] = {SHARE: [], INSIDE: []}
    for read, some in batches:
        for (index, ids), (row, perceptual) in zip(some, read(model, processor, evaluation, some), strict=True):
            whole = float(row.abs().sum())
            if not whole:
                continue
            region = list(world.region(evaluation.scenes[index], names[ids[-1]]))
            found[SHARE].append((index, float(row[perceptual].abs().sum() / whole)))
            positive = row[perceptual].clamp(min=0)
            if positive.any():
                found[INSIDE].append((index, float(positive[region].sum() / positive.sum())))
    return {name: _rows(sorted(pairs, key=lambda pair: pair[0])) for name, pairs in found.items()}


def _marks(model: PreTrainedModel, processor: Any, evaluation: EvaluationSet) -> frozenset[int]:
    """Return the tokens that a prompt cannot hold as words: places of pictures and sounds, and marks of conversations.

    A policy may make a model say one.
    """
    prompt = read_prompt(model, evaluation.world.batch(processor, evaluation.media[:1], [evaluation.caption_prompt]))
    places = prompt.positions.input_ids[prompt.positions.perceptual].tolist()
    words = processor.tokenizer
    return frozenset([*places, *words.all_special_ids, *words.get_added_vocab().values()])


def _in_prompt(
    model: PreTrainedModel, processor: Any, evaluation: EvaluationSet, some: Sequence[tuple[int, list[int]]]
) -> list[tuple[Tensor, Tensor]]:
    """Return the relevance ``[T]`` of the last token of each row, and its perceptual positions ``[P]``.

    What comes before that token in a caption is read as part of the prompt. So a row costs one backward pass, and not
    one for each token of the caption, of which most name nothing.
    """
    world = evaluation.world
    media = [evaluation.media[index] for index, _ in some]
    texts = [world.continued(processor, evaluation.caption_prompt, ids[:-1]) for _, ids in some]
    prompt = read_prompt(model, world.batch(processor, media, texts).to(model.device))
    for (index, ids), row in zip(some, prompt.positions.input_ids.tolist(), strict=True):
        if row[len(row) - len(ids) + 1 :] != ids[:-1]:
            raise ValueError(
                f"The caption of scene {index} begins with the tokens {ids[:-1]}, a prompt that they follow ends in "
                f"{row[len(row) - len(ids) + 1 :]}; mend {type(world).__name__}.continued."
            )
    wanted = torch.tensor([ids[-1] for _, ids in some], device=model.device)
    relevance, perceptual = attribute(model, prompt, wanted).relevance.cpu(), prompt.positions.perceptual.cpu()
    return [(row, mask.nonzero()[:, 0]) for row, mask in zip(relevance, perceptual, strict=True)]


def _after_prompt(
    model: PreTrainedModel, processor: Any, evaluation: EvaluationSet, some: Sequence[tuple[int, list[int]]]
) -> list[tuple[Tensor, Tensor]]:
    """Return what ``_in_prompt`` does, of a single row whose tokens cannot be read as a prompt: as an answer."""
    ((index, ids),) = some
    inputs = evaluation.world.batch(processor, [evaluation.media[index]], [evaluation.caption_prompt])
    prompt = read_prompt(model, inputs.to(model.device))
    relevance = attribute(model, prompt, torch.tensor([ids], device=model.device)).relevance.cpu()
    return [(relevance[0, -1], prompt.positions.perceptual[0].cpu().nonzero()[:, 0])]


def _rows(pairs: Sequence[tuple[int, float]]) -> Rows:
    scenes, values = np.array([index for index, _ in pairs], np.int64), np.array([value for _, value in pairs])
    return Rows(scenes, values)
