"""Conversations as token ids and labels: documents with tag words or image slots, packed into batches."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from lime_xai.worlds.scene.objects import CLASSES, COLOURS, IMAGE_TOKENS, SIDES
from lime_xai.worlds.scene.scenes import Scene
from lime_xai.worlds.scene.text import ASSISTANT, BOS, EOS, IMAGE, PAD, USER, VOCABULARY, encode

from .corpus import Turn

IGNORED: Final = -100
"""Label of a token that is not trained on."""
IMAGE_SLOTS: Final = (VOCABULARY[IMAGE],) * IMAGE_TOKENS
"""The context of a document about an image."""
_NOTHING = encode("nothing")


def tag_words(rng: np.random.Generator, scene: Scene, dropped: float) -> tuple[int, ...]:
    """Return a shuffled bag of words that stands in for an image in text-only documents.

    Each object is mentioned one to three times as name, colour and side; with probability ``dropped`` not at all.
    """
    words: list[tuple[int, ...]] = [_NOTHING] * int(rng.integers(0, 8))
    for obj in scene.present:
        if rng.random() >= dropped:
            tag = encode(f"{CLASSES[obj]} {COLOURS[scene.colour_of(obj)]} {SIDES[scene.side_of(obj)]}")
            words += [tag] * int(rng.integers(1, 4))
    return tuple(token for i in rng.permutation(len(words)).tolist() for token in words[i])


@dataclass(frozen=True)
class Document:
    """Token ids and labels (``IGNORED`` where nothing is learnt) of one conversation, both of length T."""

    tokens: tuple[int, ...]
    labels: tuple[int, ...]


def document(turns: Iterable[Turn], context: Sequence[int] = (), *, train_questions: bool = False) -> Document:
    """Join turns into one document in the format of the chat template.

    Parameters
    ----------
    turns : iterable of Turn
        The conversation.
    context : sequence of int
        Tokens before the first question: ``IMAGE_SLOTS`` or tag words; never trained on.
    train_questions : bool
        Whether the words of the user are learnt as well.

    Returns
    -------
    Document
        Ids and labels.
    """
    user, assistant, end = VOCABULARY[USER], VOCABULARY[ASSISTANT], VOCABULARY[EOS]
    tokens, labels = [VOCABULARY[BOS]], [IGNORED]
    for turn in turns:
        asked = [user, *context, *turn.question, assistant]
        learnt = [user, *[IGNORED] * len(context), *turn.question, assistant]
        tokens += [*asked, *turn.answer, end]
        labels += learnt if train_questions else [IGNORED] * len(asked)
        labels += [t if flag else IGNORED for t, flag in zip(turn.answer, turn.trained, strict=True)]
        labels.append(end if turn.trained[-1] else IGNORED)
        context = ()
    return Document(tuple(tokens), tuple(labels))


def pack(documents: Sequence[Document]) -> tuple[Tensor, Tensor]:
    """Return ids and labels of documents as two integer tensors [B, T], padded on the right."""
    longest = max(len(d.tokens) for d in documents)
    tokens = torch.full((len(documents), longest), VOCABULARY[PAD])
    labels = torch.full((len(documents), longest), IGNORED)
    for row, d in enumerate(documents):
        tokens[row, : len(d.tokens)] = torch.tensor(d.tokens)
        labels[row, : len(d.labels)] = torch.tensor(d.labels)
    return tokens, labels
