"""Captions and answers of a model on an evaluation set, all through ``model.generate``."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from transformers import LogitsProcessorList

from .ban import NoRepeatObjects
from .closed import ClosedMetrics, closed_metrics
from .evaluation import SPLITS, EvaluationSet, Question
from .metrics import CaptionMetrics, caption_metrics
from .probes import OpenQuestion, Probe
from .world import World

Around = Callable[[Sequence[Any], Sequence[str]], AbstractContextManager[Any]]
"""Makes the context in which one batch is generated, from its media and prompts: a contrast with other media needs
those of the batch."""

CAPTION_TOKENS = 26
"""Most tokens of a caption: six objects and the end."""
DETAIL_TOKENS = 8
"""Most tokens of its second sentence."""


@dataclass(frozen=True)
class Measurement:
    """Captions and closed questions of one model or policy.

    Attributes
    ----------
    captions, no_repeat : CaptionMetrics
        Of plain captions, and of captions that may not name an object twice.
    splits : dict of str to ClosedMetrics
        Of closed questions, per split.
    """

    captions: CaptionMetrics
    no_repeat: CaptionMetrics
    splits: dict[str, ClosedMetrics]


def batches(
    world: World,
    processor: Any,
    media: Sequence[Any],
    prompts: Sequence[str],
    size: int,
    device: torch.device,
    around: Around | None = None,
) -> Iterator[tuple[Any, AbstractContextManager[Any]]]:
    """Yield the processor's batches of at most ``size`` (medium, prompt) pairs on a device, each with its context."""
    pairs = iter(zip(media, prompts, strict=True))
    while chunk := list(islice(pairs, size)):
        some, texts = [medium for medium, _ in chunk], [text for _, text in chunk]
        yield world.batch(processor, some, texts).to(device), around(some, texts) if around else nullcontext()


def generate_captions(
    model: Any,
    processor: Any,
    evaluation: EvaluationSet,
    *,
    no_repeat: bool = False,
    detailed: bool = False,
    batch_size: int | None = None,
    around: Around | None = None,
    **generate_kwargs: Any,
) -> list[str]:
    """Return the caption of every scene, greedy unless told otherwise.

    Parameters
    ----------
    model, processor : Any
        The world's model (possibly under a policy) and its processor.
    evaluation : EvaluationSet
        What to describe.
    no_repeat : bool
        Whether naming something twice is forbidden (``NoRepeatObjects``).
    detailed : bool
        Whether a second sentence is asked for.
    batch_size : int, optional
        Scenes per call of ``generate``; by default ``world.caption_rows``.
    around : callable, optional
        Makes the context of each batch.
    **generate_kwargs
        Passed to ``model.generate``.

    Returns
    -------
    list of str
        Decoded captions, ending in ``</s>`` where the model ended them.
    """
    most = CAPTION_TOKENS + (DETAIL_TOKENS if detailed else 0)
    settings = {"do_sample": False, "max_new_tokens": most, **generate_kwargs}
    given = list(settings.pop("logits_processor", None) or ())
    asked = evaluation.detail_prompt if detailed else evaluation.caption_prompt
    # Scenes of as many things share a batch: their captions end together.
    order = sorted(range(len(evaluation.media)), key=lambda index: len(evaluation.scenes[index].present))
    world, media, prompts = evaluation.world, [evaluation.media[index] for index in order], [asked] * len(order)
    size = batch_size or world.caption_rows
    captions: list[str] = []
    for inputs, context in batches(world, processor, media, prompts, size, model.device, around):
        length = inputs["input_ids"].shape[1]
        ban = NoRepeatObjects(world.name_tokens(processor), length)
        processors = LogitsProcessorList([*given, ban] if no_repeat else given)
        with context:
            sequences = model.generate(**inputs, logits_processor=processors, **settings)
        captions += world.captions(processor, sequences[:, length:])
    return [caption for _, caption in sorted(zip(order, captions, strict=True))]


def first_logits(
    model: Any,
    processor: Any,
    world: World,
    media: Sequence[Any],
    prompts: Sequence[str],
    *,
    batch_size: int | None = None,
    around: Around | None = None,
    **generate_kwargs: Any,
) -> NDArray[np.float64]:
    """Return the logits of the first generated token, shape [N, V].

    Parameters
    ----------
    model, processor : Any
        The world's model (possibly under a policy) and its processor.
    world : World
        Whose model it is.
    media, prompts : sequence
        One medium and one prompt per row.
    batch_size : int, optional
        Rows per call of ``generate``; by default ``world.question_rows``.
    around : callable, optional
        Makes the context of each batch.
    **generate_kwargs
        Passed to ``model.generate``.
    """
    found = list(_first_logits(model, processor, world, media, prompts, batch_size, around, **generate_kwargs))
    return np.concatenate([np.zeros((0, len(processor.tokenizer))), *found])


def _first_logits(
    model: Any,
    processor: Any,
    world: World,
    media: Sequence[Any],
    prompts: Sequence[str],
    batch_size: int | None = None,
    around: Around | None = None,
    **generate_kwargs: Any,
) -> Iterator[NDArray[np.float64]]:
    """Yield the logits of the first generated token of each batch, shape [rows, V]."""
    settings = {"do_sample": False, **generate_kwargs, "max_new_tokens": 1}
    size = batch_size or world.question_rows
    for inputs, context in batches(world, processor, media, prompts, size, model.device, around):
        with context:
            output = model.generate(**inputs, return_dict_in_generate=True, output_logits=True, **settings)
        yield output.logits[0].float().cpu().numpy().astype(np.float64)


def first_scores(
    model: Any,
    processor: Any,
    world: World,
    media: Sequence[Any],
    prompts: Sequence[str],
    tokens: Sequence[Sequence[int]],
    *,
    normalised: bool,
    **kwargs: Any,
) -> list[NDArray[np.float64]]:
    """Return logits or log-probabilities of chosen tokens as the first generated one.

    Parameters
    ----------
    model, processor, world, media, prompts, **kwargs
        As in ``first_logits``. Logits are dropped batch by batch: a vocabulary of word pieces is large.
    tokens : sequence of sequence of int
        Token ids of each row.
    normalised : bool
        Whether log-probabilities, in nats, are wanted instead of logits.

    Returns
    -------
    list of numpy.ndarray
        One array of shape [K] per row for its K tokens.
    """
    found: list[NDArray[np.float64]] = []
    for logits in _first_logits(model, processor, world, media, prompts, **kwargs):
        rows = log_softmax(logits, axis=1) if normalised else logits
        found += [row[list(tokens[len(found) + place])] for place, row in enumerate(rows)]
    return found


def answer_margins(
    model: Any, processor: Any, world: World, media: Sequence[Any], prompts: Sequence[str], **kwargs: Any
) -> NDArray[np.float64]:
    """Return the logit of yes minus that of no for the first generated token, shape [N].

    Parameters
    ----------
    model, processor, world, media, prompts, **kwargs
        As in ``first_logits``.
    """
    both = world.answer_tokens(processor, [world.language.yes, world.language.no])
    wanted = [both] * len(prompts)
    found = first_scores(model, processor, world, media, prompts, wanted, normalised=False, **kwargs)
    margins: NDArray[np.float64] = np.array([yes - no for yes, no in found], np.float64)
    return margins


def open_answers(
    model: Any, processor: Any, evaluation: EvaluationSet, questions: Sequence[OpenQuestion], **kwargs: Any
) -> list[str]:
    """Return the most probable of the words that can answer each open question."""
    media, prompts = [evaluation.media[q.scene] for q in questions], [q.prompt for q in questions]
    world = evaluation.world
    ids = [world.answer_tokens(processor, q.choices) for q in questions]
    found = first_scores(model, processor, world, media, prompts, ids, normalised=False, **kwargs)
    return [q.choices[int(row.argmax())] for q, row in zip(questions, found, strict=True)]


def groundings(
    model: Any, processor: Any, evaluation: EvaluationSet, probed: Sequence[Probe], **kwargs: Any
) -> NDArray[np.float64]:
    """Return how much what a probe is about adds to the log-probability of its word.

    Parameters
    ----------
    model, processor : Any
        The world's model (possibly under a policy) and its processor.
    evaluation : EvaluationSet
        Whose media are given, as they are and erased.
    probed : sequence of Probe
        What to measure.
    **kwargs
        As in ``first_logits``.

    Returns
    -------
    numpy.ndarray
        log p(word) - log p(word | erased) in nats, shape [N].
    """
    world, prompts = evaluation.world, [p.prompt for p in probed]
    names = dict(zip(world.language.classes, world.name_tokens(processor), strict=True))
    words = [[names[p.word]] if p.kind == "name" else world.answer_tokens(processor, [p.word]) for p in probed]

    def log_probabilities(media: Sequence[Any]) -> NDArray[np.float64]:
        given = [media[p.scene] for p in probed]
        found = first_scores(model, processor, world, given, prompts, words, normalised=True, **kwargs)
        return np.array(found, np.float64).reshape(len(probed))

    return log_probabilities(evaluation.media) - log_probabilities(evaluation.erased)


def question_margins(
    model: Any, processor: Any, evaluation: EvaluationSet, questions: Sequence[Question], **kwargs: Any
) -> NDArray[np.float64]:
    """Return ``answer_margins`` of questions of an evaluation set, shape [N]."""
    media = [evaluation.media[q.scene] for q in questions]
    return answer_margins(model, processor, evaluation.world, media, [q.prompt for q in questions], **kwargs)


def measure(model: Any, processor: Any, evaluation: EvaluationSet, **generate_kwargs: Any) -> Measurement:
    """Measure captions, with and without the ban on repeating, and all splits of closed questions.

    Parameters
    ----------
    model, processor : Any
        The world's model (possibly under a policy) and its processor.
    evaluation : EvaluationSet
        What to measure on.
    **generate_kwargs
        Passed to every ``model.generate``.

    Returns
    -------
    Measurement
        The measures.
    """
    captions = {
        ban: generate_captions(model, processor, evaluation, no_repeat=ban, **generate_kwargs) for ban in (False, True)
    }
    splits = {}
    for name in SPLITS:
        questions = evaluation.split(name)
        margins = question_margins(model, processor, evaluation, questions, **generate_kwargs)
        splits[name] = closed_metrics(margins, [q.label for q in questions])
    plain, banned = (
        caption_metrics(captions[ban], evaluation.scenes, evaluation.world.language) for ban in (False, True)
    )
    return Measurement(plain, banned, splits)
