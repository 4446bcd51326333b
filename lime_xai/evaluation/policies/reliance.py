"""Where the relevance of the true names in captions lies: on what was perceived, and on the thing that is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from lime_xai.attribution.attribute import attribute
from lime_xai.attribution.targets import IGNORED
from lime_xai.model.prompt import read_prompt
from lime_xai.worlds.shared.evaluation import EvaluationSet
from lime_xai.worlds.shared.records import Rows

BATCH = 25
"""Captions per batch."""

SHARE, INSIDE = "share", "inside"


def caption_relevance(
    model: PreTrainedModel, processor: Any, evaluation: EvaluationSet, captions: Sequence[str]
) -> dict[str, Rows]:
    r"""Attribute every true name of the captions in the model without a policy (AttnLRP).

    With relevance :math:`R_t` of the position :math:`t`, perceptual positions :math:`P` and those of the named thing
    :math:`E \subset P` (the cell of an object, the tokens during which an event sounds):

    - ``share``: :math:`\sum_{t \in P} |R_t| / \sum_t |R_t|`, the reliance on what was perceived;
    - ``inside``: :math:`\sum_{t \in E} R_t^+ / \sum_{t \in P} R_t^+`, which is temporal grounding for sounds. A name
      without positive relevance on any perceptual position is left out of it.

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
    """
    names = {token: obj for obj, token in enumerate(evaluation.world.name_tokens(processor))}
    tokens = [evaluation.world.caption_tokens(processor, caption) for caption in captions]
    told = [
        index
        for index, (ids, scene) in enumerate(zip(tokens, evaluation.scenes, strict=True))
        if any(names.get(token) in scene.present for token in ids)
    ]
    found: dict[str, list[tuple[int, float]]] = {SHARE: [], INSIDE: []}
    for start in range(0, len(told), BATCH):
        some = told[start : start + BATCH]
        for index, relevance, perceptual in _relevance(model, processor, evaluation, tokens, some):
            for token, row in zip(tokens[index], relevance, strict=False):
                obj = names.get(token)
                if obj is None or obj not in evaluation.scenes[index].present:
                    continue
                region = list(evaluation.world.region(evaluation.scenes[index], obj))
                found[SHARE].append((index, float(row[perceptual].abs().sum() / row.abs().sum())))
                positive = row[perceptual].clamp(min=0)
                if positive.any():
                    found[INSIDE].append((index, float(positive[region].sum() / positive.sum())))
    return {name: _rows(pairs) for name, pairs in found.items()}


def _relevance(
    model: PreTrainedModel, processor: Any, evaluation: EvaluationSet, tokens: Sequence[list[int]], some: Sequence[int]
) -> list[tuple[int, Tensor, Tensor]]:
    """Return the scene, the relevance ``[G, T']`` of its caption and its perceptual positions ``[P]``, of a batch."""
    media = [evaluation.media[index] for index in some]
    inputs = evaluation.world.batch(processor, media, [evaluation.caption_prompt] * len(some)).to(model.device)
    longest = max(len(tokens[index]) for index in some)
    ids = [tokens[index] + [IGNORED] * (longest - len(tokens[index])) for index in some]
    prompt = read_prompt(model, inputs)
    found = attribute(model, prompt, torch.tensor(ids, device=model.device)).relevance.cpu()
    perceptual = prompt.positions.perceptual.cpu()
    return [(index, found[row], perceptual[row].nonzero()[:, 0]) for row, index in enumerate(some)]


def _rows(pairs: Sequence[tuple[int, float]]) -> Rows:
    scenes, values = np.array([index for index, _ in pairs], np.int64), np.array([value for _, value in pairs])
    return Rows(scenes, values)
