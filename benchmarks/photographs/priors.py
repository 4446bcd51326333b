"""What SmolLM2 takes for granted, asked without a picture: ``python -m benchmarks.photographs priors``.

The pairs of the adversarial and the dialogue questions, the popular objects and the usual colours are the language
model's own. We choose none of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from lime_xai.storage.store import write_json
from lime_xai.storage.weights import weights_hash
from lime_xai.worlds.shared.language import Attribute, article

from .catalogue import CLASSES
from .language import CAPTION_REQUEST, PRIORS, Priors, colour_attribute, side_attribute, single_tokens
from .model import END, START
from .packages import found
from .placed import SIDES
from .tints import TINTS
from .weights import language_model

BATCH = 16


def asked(question: str, begun: str = "") -> str:
    """Return a question without a picture, and the beginning of its answer."""
    return f"{START}user\n{question}{END}\n{START}assistant\n{begun}"


@torch.no_grad()
def next_log_probabilities(model: Any, tokenizer: Any, texts: Sequence[str]) -> Tensor:
    """Return log-probabilities of the token after each text, float64 of shape [N, V]."""
    found = []
    for text in texts:  # one by one: padding would need a mask, and there are few
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
        found.append(model(input_ids=ids, logits_to_keep=1).logits[0, -1].double().log_softmax(-1))
    return torch.stack(found)


def follows(
    model: Any, tokenizer: Any, names: Sequence[str] = CLASSES, request: str = CAPTION_REQUEST
) -> NDArray[np.float64]:
    """Return how probable each name is after each other one: log p(b | "There is a A and a"), shape [C, C].

    The article is that of B, so that it tells nothing about which name follows among those with the same article.
    """
    tokens = single_tokens(tokenizer, [f" {name}" for name in names])
    articles = [article(name).split()[0] for name in names]
    scores = np.zeros((len(names), len(names)))
    for form in sorted(set(articles)):
        texts = [asked(request, f"There is {article(name)} and {form}") for name in names]
        chances = next_log_probabilities(model, tokenizer, texts)[:, tokens].numpy()
        columns = [place for place, one in enumerate(articles) if one == form]
        scores[:, columns] = chances[:, columns]
    return scores


def paired(scores: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Return pairs of classes that a language model thinks go together; each class is in one pair.

    1. a(A, B) = log p(B | A) minus its mean over A: how much more probable A makes B than other names do.
    2. s(A, B) = a(A, B) + a(B, A).
    3. The perfect matching with the greatest sum of s (``networkx.max_weight_matching``).

    Parameters
    ----------
    scores : numpy.ndarray
        As ``follows`` returns them, shape [C, C] with an even C; the diagonal is not used.

    Returns
    -------
    list of (int, int)
        The pairs, the one with the greatest s first.
    """
    count = len(scores)
    others = ~np.eye(count, dtype=bool)
    mean = np.array([scores[others[:, column], column].mean() for column in range(count)])
    added = scores - mean
    both = added + added.T
    graph: Any = networkx.Graph()
    for first in range(count):
        for second in range(first + 1, count):
            graph.add_edge(first, second, weight=float(both[first, second]))
    pairs = [tuple(sorted(pair)) for pair in networkx.max_weight_matching(graph, maxcardinality=True)]
    return sorted(((a, b) for a, b in pairs), key=lambda pair: (-both[pair], pair))


def usual(model: Any, tokenizer: Any, attribute: Attribute, words: Sequence[str]) -> dict[str, str]:
    """Return the most probable of the answers to the question about an attribute of each class."""
    tokens = single_tokens(tokenizer, attribute.words)
    texts = [asked(attribute.question.format(name=name)) for name in CLASSES]
    best = next_log_probabilities(model, tokenizer, texts)[:, tokens].argmax(1).tolist()
    return {name: words[place] for name, place in zip(CLASSES, best, strict=True)}


def first_named(
    model: Any, tokenizer: Any, names: Sequence[str] = CLASSES, request: str = CAPTION_REQUEST
) -> dict[str, float]:
    """Return the probability of each name as the first of a caption, among all names; articles count as they come."""
    tokens = single_tokens(tokenizer, [f" {name}" for name in names])
    begun = {form: single_tokens(tokenizer, [f" {form}"])[0] for form in ("a", "an")}
    (start,) = next_log_probabilities(model, tokenizer, [asked(request, "There is")])
    after = {form: next_log_probabilities(model, tokenizer, [asked(request, f"There is {form}")])[0] for form in begun}
    forms = [article(name).split()[0] for name in names]
    joint = torch.stack([start[begun[form]] + after[form][token] for form, token in zip(forms, tokens, strict=True)])
    return dict(zip(names, joint.softmax(0).tolist(), strict=True))


def measure(model: Any, tokenizer: Any) -> Priors:
    """Return what a language model takes for granted."""
    scores = follows(model, tokenizer)
    return {
        "model": weights_hash(model),
        "pairs": [(CLASSES[a], CLASSES[b]) for a, b in paired(scores)],
        "popularity": first_named(model, tokenizer),
        "colours": usual(model, tokenizer, colour_attribute([0] * len(CLASSES)), TINTS),
        "sides": usual(model, tokenizer, side_attribute([0] * len(CLASSES)), SIDES),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--out", type=Path, default=PRIORS)


def run(arguments: argparse.Namespace) -> None:
    """Ask the language model, write the file and print the pairs."""
    torch.set_num_threads(1)
    made = measure(*language_model(found(arguments.folder)))
    write_json(arguments.out, made)
    console = Console()
    console.print("; ".join(f"{a}, {b}" for a, b in made["pairs"]), highlight=False)
    console.print(f"written: {arguments.out}", highlight=False)
