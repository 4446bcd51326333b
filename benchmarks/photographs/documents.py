"""Training text about photographs: true, and without a habit of ours.

A document is one picture with a conversation of one of two kinds. One begins with a caption (of one sentence, or with a
second one on the colour or the side of something), and ends with a question about another colour or side, if one is
known. The other asks, in random order, for the number of objects, twice whether something is there, and for a colour or
a side, if one is known. Half of the answers to what is there are yes; absent objects are drawn uniformly. No answer can
be read from an earlier one: the model has to look. Every kind of question is often the first one, as it is in
evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lime_xai.worlds.shared.language import Attribute, Truth

from .language import PhotoLanguage
from .model import END, PLACEHOLDER, START
from .placed import PhotoScene

IGNORED = -100
DETAILED_SHARE = 0.35
"""Share of captions with a second sentence."""


@dataclass(frozen=True)
class Turn:
    """A question and its true answer, as text."""

    question: str
    answer: str


def caption_turn(rng: np.random.Generator, language: PhotoLanguage, scene: Truth) -> Turn:
    """Return a caption that names everything, in random order."""
    order = [scene.present[i] for i in rng.permutation(len(scene.present))]
    caption = language.caption_text(order)
    if rng.random() >= DETAILED_SHARE:
        return Turn(language.caption_request, caption)
    known = [
        clause(language, attribute, scene, obj)
        for attribute in language.attributes
        for obj in scene.present
        if scene.value_of(attribute.name, obj) is not None
    ]
    if not known:
        return Turn(language.caption_request, caption)
    stated = known[int(rng.integers(len(known)))]
    return Turn(language.detail_request, f"{caption} {stated.capitalize()}.")


def clause(language: PhotoLanguage, attribute: Attribute, scene: Truth, obj: int) -> str:
    """Return what is said of an attribute of an object: "the dog is blue"."""
    said = attribute.clause.format(name=language.classes[obj], word=attribute.word_of(scene, obj))
    return said.removesuffix(" .")


def closed_turns(rng: np.random.Generator, language: PhotoLanguage, scene: Truth, count: int) -> list[Turn]:
    """Return yes/no questions about different objects; each is about a present one with probability one half."""
    present = [scene.present[i] for i in rng.permutation(len(scene.present))]
    absent = [scene.absent[i] for i in rng.permutation(len(scene.absent))]
    made = []
    for _ in range(count):
        there = rng.random() < 0.5
        obj = (present if there and present else absent).pop()
        answer = language.yes if obj in scene.present else language.no
        made.append(Turn(language.exists_question(obj), f"{answer}."))
    return made


def count_turn(language: PhotoLanguage, scene: PhotoScene) -> Turn:
    """Return the question about the number of objects."""
    return Turn(language.count_question, f"{language.numbers[len(scene.present) - 1]}.")


def attribute_turn(rng: np.random.Generator, language: PhotoLanguage, scene: PhotoScene, said: str = "") -> Turn | None:
    """Return a question about a colour or a side that is known and that ``said`` does not state; None without any.

    Both kinds are equally probable where both are known.
    """
    for place in rng.permutation(len(language.attributes)).tolist():
        attribute = language.attributes[place]
        known = [
            obj
            for obj in scene.present
            if scene.value_of(attribute.name, obj) is not None
            and clause(language, attribute, scene, obj).lower() not in said.lower()
        ]
        if known:
            obj = known[int(rng.integers(len(known)))]
            return Turn(language.attribute_question(attribute, obj), f"{attribute.word_of(scene, obj)}.")
    return None


def conversation(rng: np.random.Generator, language: PhotoLanguage, scene: PhotoScene) -> list[Turn]:
    """Draw the turns about a scene, of one of the two kinds with equal probability."""
    if rng.random() < 0.5:
        first = caption_turn(rng, language, scene)
        last = attribute_turn(rng, language, scene, first.answer)
        return [first] if last is None else [first, last]
    closed = closed_turns(rng, language, scene, 2)
    turns = [count_turn(language, scene), *closed]
    last = attribute_turn(rng, language, scene)
    if last is not None:
        turns.append(last)
    turns = [turns[place] for place in rng.permutation(len(turns))]
    if last is not None and any(_same_object(language, scene, last, turn) for turn in closed):
        turns.remove(last)  # asked earlier, it would say that its object is there
        turns.append(last)
    return turns


def _same_object(language: PhotoLanguage, scene: PhotoScene, attribute: Turn, closed: Turn) -> bool:
    """Whether a question about a colour or a side and one about what is there are about the same object."""
    return any(
        closed.question == language.exists_question(obj)
        and attribute.question in [language.attribute_question(one, obj) for one in language.attributes]
        for obj in scene.present
    )


@dataclass(frozen=True, eq=False)
class Batch:
    """Documents as token ids, padded on the right.

    Attributes
    ----------
    tokens : Tensor
        Token ids, int64 of shape [B, T].
    targets : Tensor
        The token to be said after each position, int64 of shape [B, T]; ``IGNORED`` outside answers.
    weights : Tensor
        What each target weighs in the loss, float32 of shape [B, T].
    """

    tokens: Tensor
    targets: Tensor
    weights: Tensor


def encode(tokenizer: Any, image_tokens: Sequence[int], turns: Sequence[Turn]) -> tuple[list[int], list[float]]:
    """Return the token ids of a document, and the weight of each as a target.

    A target weighs 1 / sqrt(n) for an answer of n tokens: a caption of sixteen weighs as much as four answers of one.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerFast
        SmolLM2's.
    image_tokens : sequence of int
        What stands for the picture: placeholders, and marks around them.
    turns : sequence of Turn
        The conversation.
    """

    def pieces(text: str) -> list[int]:
        found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    ids: list[int] = []
    weights: list[float] = []
    for number, turn in enumerate(turns):
        asked = pieces(f"{START}user\n") + (list(image_tokens) if number == 0 else [])
        asked += pieces(f"{turn.question}{END}\n{START}assistant\n")
        said = pieces(f"{turn.answer}{END}")
        after = pieces("\n")
        ids += asked + said + after
        weights += [0.0] * len(asked) + [len(said) ** -0.5] * len(said) + [0.0] * len(after)
    return ids, weights


def pack(documents: Sequence[tuple[Sequence[int], Sequence[float]]], padding: int) -> Batch:
    """Return encoded documents as a batch."""
    length = max(len(ids) for ids, _ in documents)
    tokens = torch.full((len(documents), length), padding)
    weights = torch.zeros(len(documents), length)
    for row, (ids, weight) in enumerate(documents):
        tokens[row, : len(ids)] = torch.tensor(ids)
        weights[row, : len(ids)] = torch.tensor(weight)
    targets = torch.full_like(tokens, IGNORED)
    said = weights[:, 1:] > 0
    targets[:, :-1][said] = tokens[:, 1:][said]
    shifted = torch.zeros_like(weights)
    shifted[:, :-1] = weights[:, 1:]
    return Batch(tokens, targets, shifted)


def picture_tokens(processor: Any) -> list[int]:
    """Return what a processor writes for one picture, as token ids."""
    text = processor.start_image_token + PLACEHOLDER * processor.image_seq_length + processor.end_image_token
    found: list[int] = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    return found
