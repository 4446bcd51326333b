"""Conversations as token ids and labels: documents with or without a context, packed into batches."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from lime_xai.worlds.shared.language import ASSISTANT, BOS, EOS, PAD, USER, Language, Truth

from .corpus import Turn

IGNORED: Final = -100
"""Label of a token that is not trained on."""


def tag_words(rng: np.random.Generator, language: Language, truth: Truth, dropped: float) -> tuple[int, ...]:
    """Return a shuffled bag of words that stands in for an image or a sound in text-only documents.

    Each thing is mentioned one to three times as name and attributes; with probability ``dropped`` not at all.
    """
    words: list[tuple[int, ...]] = [language.encode("nothing")] * int(rng.integers(0, 8))
    for obj in truth.present:
        if rng.random() >= dropped:
            values = [a.word_of(truth, obj) for a in language.attributes]
            words += [language.encode(" ".join([language.classes[obj], *values]))] * int(rng.integers(1, 4))
    return tuple(token for i in rng.permutation(len(words)).tolist() for token in words[i])


@dataclass(frozen=True)
class Document:
    """Token ids and labels (``IGNORED`` where nothing is learnt) of one conversation, both of length T."""

    tokens: tuple[int, ...]
    labels: tuple[int, ...]


def document(
    language: Language, turns: Iterable[Turn], context: Sequence[int] = (), *, train_questions: bool = False
) -> Document:
    """Join turns into one document in the format of the chat template.

    Parameters
    ----------
    language : Language
        Its words.
    turns : iterable of Turn
        The conversation.
    context : sequence of int
        Tokens before the first question: those of an image or a sound, or tag words; never trained on.
    train_questions : bool
        Whether the words of the user are learnt as well.

    Returns
    -------
    Document
        Ids and labels.
    """
    begin, user, assistant, end = (language.vocabulary[word] for word in (BOS, USER, ASSISTANT, EOS))
    tokens, labels = [begin], [IGNORED]
    for turn in turns:
        asked = [user, *context, *turn.question, assistant]
        learnt = [user, *[IGNORED] * len(context), *turn.question, assistant]
        tokens += [*asked, *turn.answer, end]
        labels += learnt if train_questions else [IGNORED] * len(asked)
        labels += [t if flag else IGNORED for t, flag in zip(turn.answer, turn.trained, strict=True)]
        labels.append(end if turn.trained[-1] else IGNORED)
        context = ()
    return Document(tuple(tokens), tuple(labels))


def pack(language: Language, documents: Sequence[Document]) -> tuple[Tensor, Tensor]:
    """Return ids and labels of documents as two integer tensors [B, T], padded on the right."""
    longest = max(len(d.tokens) for d in documents)
    tokens = torch.full((len(documents), longest), language.vocabulary[PAD])
    labels = torch.full((len(documents), longest), IGNORED)
    for row, d in enumerate(documents):
        tokens[row, : len(d.tokens)] = torch.tensor(d.tokens)
        labels[row, : len(d.labels)] = torch.tensor(d.labels)
    return tokens, labels
