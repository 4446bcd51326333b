"""Where attention and relevance lie when an object is named: ``python -m benchmarks.photographs attention MODEL``.

Each caption of the model is read again with its picture. At the position that predicts the first token of a named
object, in every layer, the attention weights are averaged over heads:

1. their shares on the first token, on the picture, and on the remaining text add up to one;
2. within the picture: the share of the one image token with the most attention (1/64 if all had the same), and the
   share on tokens that show none of the objects, beside their share of the picture;
3. how often the most attended image token is that of another word in another picture: a place that attracts attention
   whatever is there.

Relevance (AttnLRP, of the same token) is split over the same groups by its absolute value.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

import lime_xai
from lime_xai.evaluation.bootstrap import estimate, resampling_weights
from lime_xai.worlds.shared.evaluation import EvaluationSet
from lime_xai.worlds.shared.measuring import generate_captions
from lime_xai.worlds.shared.metrics import mean_over_scenes, ratio

from .measured import add_measured, open_measured, report_means

_SEED: Final = 7
"""Seed of the scenes."""


@dataclass(frozen=True)
class Named:
    """Attention and relevance of a named object.

    Attributes
    ----------
    scene : int
        Index of its scene.
    word : str
        The name.
    invented : bool
        Whether it is absent.
    layers : tuple of (float, float, float)
        Shares of the first token, the picture and the remaining text in the attention of each layer.
    relevance : (float, float, float)
        The same shares in the absolute relevance.
    top : int
        The image token with the most attention, mean over layers.
    top_share, empty_share : float
        Share of that token, and of the tokens that show no object, in the attention on the picture.
    empty_area : float
        Share of the tokens that show no object among all image tokens.
    """

    scene: int
    word: str
    invented: bool
    layers: tuple[tuple[float, float, float], ...]
    relevance: tuple[float, float, float]
    top: int
    top_share: float
    empty_share: float
    empty_area: float

    @property
    def attention(self) -> tuple[float, float, float]:
        """The three shares, mean over layers."""
        first, picture, text = np.mean(self.layers, axis=0)
        return float(first), float(picture), float(text)


@contextmanager
def _weights_given(model: Any) -> Iterator[None]:
    """Let a model compute attention in the way that returns its weights."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def named_objects(
    model: Any, processor: Any, evaluation: EvaluationSet, captions: Sequence[str], tokens: Sequence[int]
) -> list[Named]:
    """Return attention and relevance at the first mention of every object.

    Parameters
    ----------
    model, processor : object
        The model and its processor.
    evaluation : EvaluationSet
        What was described.
    captions : sequence of str
        One per scene.
    tokens : sequence of int
        Token id of each class's name in a caption.
    """
    found = []
    for index, caption in enumerate(track(captions, description="captions")):
        inputs = evaluation.world.batch(processor, [evaluation.media[index]], [evaluation.caption_prompt])
        said = evaluation.world.caption_tokens(processor, caption)
        if not set(said) & set(tokens):
            continue
        found += _of_caption(model, processor, evaluation, index, inputs.to(model.device), said, list(tokens))
    return found


def _of_caption(
    model: Any,
    processor: Any,
    evaluation: EvaluationSet,
    index: int,
    inputs: Any,
    said: Sequence[int],
    tokens: Sequence[int],
) -> list[Named]:
    scene, world = evaluation.scenes[index], evaluation.world
    prompt = inputs["input_ids"]
    answer = torch.tensor([said], device=prompt.device)
    whole = {**inputs, "input_ids": torch.cat([prompt, answer], 1)}
    whole["attention_mask"] = torch.ones_like(whole["input_ids"])
    with torch.inference_mode(), _weights_given(model):
        attentions = model(**whole, output_attentions=True, use_cache=False).attentions
    per_layer = torch.stack([one[0].float().mean(0) for one in attentions])  # [layers, T, T]
    attributed = lime_xai.attribute(model, inputs, target=list(said), processor=processor)
    picture = (whole["input_ids"][0] == processor.image_token_id).nonzero()[:, 0]
    shown = {token for obj in scene.present for token in world.region(scene, obj)}
    empty = [token for token in range(len(picture)) if token not in shown]
    made, seen = [], set()
    for place, token in enumerate(said):
        if token not in tokens or token in seen:
            continue
        seen.add(token)
        obj = tokens.index(token)
        last = prompt.shape[1] + place  # positions before it are attended when it is predicted
        rows = per_layer[:, last - 1, :last]
        on_picture = rows[:, picture].mean(0)
        relative = on_picture / on_picture.sum()
        relevance = attributed.relevance[0, place, :last].abs()
        made.append(
            Named(
                index,
                world.language.classes[obj],
                obj not in scene.present,
                tuple(_shares(row, picture) for row in rows),
                _shares(relevance, picture),
                int(relative.argmax()),
                float(relative.max()),
                float(relative[empty].sum()),
                len(empty) / len(picture),
            )
        )
    return made


def _shares(weights: Tensor, picture: Tensor) -> tuple[float, float, float]:
    """Return the shares of the first token, of the picture and of the rest; ``weights`` [T] are not negative."""
    total = weights.sum()
    first, image = float(weights[0] / total), float(weights[picture].sum() / total)
    return first, image, 1.0 - first - image


def summary(found: Sequence[Named], scenes: int) -> dict[str, tuple[float, float, float]]:
    """Return means with 95 % bootstrap intervals over scenes, and how often the same image token is the top one."""
    weights = resampling_weights(scenes)
    places = np.array([one.scene for one in found], np.int64)

    def mean(values: Sequence[float]) -> tuple[float, float, float]:
        return estimate(mean_over_scenes(np.asarray(values, np.float64), places, weights))

    table: dict[str, tuple[float, float, float]] = {}
    for place, group in enumerate(("first token", "picture", "remaining text")):
        table[f"attention on the {group}"] = mean([one.attention[place] for one in found])
        table[f"relevance of the {group}"] = mean([one.relevance[place] for one in found])
    for kind, invented in (("seen", False), ("invented", True)):
        some = [one for one in found if one.invented == invented]
        if some:
            among = np.array([one.scene for one in some], np.int64)
            values = np.array([one.attention[1] for one in some], np.float64)
            table[f"attention on the picture, {kind} objects"] = estimate(mean_over_scenes(values, among, weights))
    if any(one.invented for one in found):
        apart = at_the_same_place(found, [one.attention[1] for one in found], weights)
        table["attention on the picture, invented minus seen objects at the same place"] = estimate(apart)
    table["most attended image token: its share of the picture's attention"] = mean([one.top_share for one in found])
    table["tokens without an object: share of the picture's attention"] = mean([one.empty_share for one in found])
    table["tokens without an object: share of the picture"] = mean([one.empty_area for one in found])
    table["two pictures have the same most attended image token"] = estimate(_repeated(found, weights))
    return table


def at_the_same_place(found: Sequence[Named], values: Sequence[float], weights: NDArray[Any]) -> NDArray[np.float64]:
    """Return by how much a value of invented objects exceeds that of seen ones named at the same place, shape [R].

    Invented objects are named later, and the longer the caption is, the more text there is to attend to. So the means
    of those named k-th in their captions are compared for each k, and weighed by the number of invented ones. A place
    at which one of the two kinds is missing is left out.

    Parameters
    ----------
    found : sequence of Named
        In the order of the captions, first mentions alone.
    values : sequence of float
        One for each.
    weights : numpy.ndarray
        Of scenes, shape [R, S].
    """
    chosen = weights[:, [one.scene for one in found]]
    before: Counter[int] = Counter()
    places, invented, value = [], np.array([one.invented for one in found]), np.asarray(values, np.float64)
    for one in found:
        places.append(before[one.scene])
        before[one.scene] += 1
    above, below = np.zeros(len(weights)), np.zeros(len(weights))
    for place in sorted(set(places)):
        here = np.array(places) == place
        many, few = (chosen[:, here & kind].sum(1) for kind in (~invented, invented))
        seen, other = (chosen[:, here & kind] @ value[here & kind] for kind in (~invented, invented))
        compared = np.where((many > 0) & (few > 0), few, 0.0)
        above += compared * (ratio(other, few, 0.0) - ratio(seen, many, 0.0))
        below += compared
    return ratio(above, below)


def _repeated(found: Sequence[Named], weights: NDArray[Any]) -> NDArray[np.float64]:
    """Return for each row of weights [R, S] how often two words of different pictures share their top image token."""
    tops = np.zeros((weights.shape[1], max((one.top for one in found), default=0) + 1))
    for one in found:
        tops[one.scene, one.top] += 1
    counts = weights @ tops  # by image token
    words = weights @ tops.sum(1)
    own = np.square(weights) @ (tops**2).sum(1)  # pairs of a picture with itself, or with its copy in a resample
    own_words = np.square(weights) @ tops.sum(1) ** 2
    return ratio(np.square(counts).sum(1) - own, np.square(words) - own_words)


def by_layer(found: Sequence[Named]) -> list[list[float]]:
    """Return the mean shares of first token, picture and remaining text in the attention of each layer."""
    layers: list[list[float]] = np.mean([one.layers for one in found], axis=0).tolist()
    return layers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, and what it is measured on."""
    add_measured(parser, _SEED)


def run(arguments: argparse.Namespace) -> None:
    """Measure, print the table and write the report."""
    model, processor, evaluation = open_measured(arguments)
    captions = generate_captions(model, processor, evaluation)
    names = evaluation.world.name_tokens(processor)
    found = named_objects(model, processor, evaluation, captions, names)
    if not found:
        raise ValueError(f"none of the {arguments.scenes} captions names an object; measure a model that names some")
    named = [{name: value for name, value in asdict(one).items() if name != "layers"} for one in found]
    title = f"{len(found)} named objects in {arguments.scenes} captions"
    rows = {"layers": by_layer(found), "named": named}
    report_means(arguments, model, title, summary(found, arguments.scenes), rows)
