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
from .language import EOS, NO, PAD, YES, Language
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


def object_tokens(processor: Any, language: Language) -> tuple[int, ...]:
    """Return the token ids of the names of a world's classes, in their order."""
    return tuple(processor.tokenizer.convert_tokens_to_ids(list(language.classes)))


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
    batch_size: int = 50,
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
    batch_size : int
        Scenes per call of ``generate``.
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
    captions: list[str] = []
    for inputs, context in batches(world, processor, media, prompts, batch_size, model.device, around):
        length = inputs["input_ids"].shape[1]
        ban = NoRepeatObjects(object_tokens(processor, world.language), length)
        processors = LogitsProcessorList([*given, ban] if no_repeat else given)
        with context:
            sequences = model.generate(**inputs, logits_processor=processors, **settings)
        for text in processor.batch_decode(sequences[:, length:], skip_special_tokens=False):
            body, end, _ = text.partition(EOS)
            captions.append(" ".join(f"{body.replace(PAD, '')} {end}".split()))
    return [caption for _, caption in sorted(zip(order, captions, strict=True))]


def first_logits(
    model: Any,
    processor: Any,
    world: World,
    media: Sequence[Any],
    prompts: Sequence[str],
    *,
    batch_size: int = 100,
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
    batch_size : int
        Rows per call of ``generate``.
    around : callable, optional
        Makes the context of each batch.
    **generate_kwargs
        Passed to ``model.generate``.
    """
    settings = {"do_sample": False, **generate_kwargs, "max_new_tokens": 1}
    found = [np.zeros((0, len(processor.tokenizer)))]
    for inputs, context in batches(world, processor, media, prompts, batch_size, model.device, around):
        with context:
            output = model.generate(**inputs, return_dict_in_generate=True, output_logits=True, **settings)
        found.append(output.logits[0].float().cpu().numpy().astype(np.float64))
    return np.concatenate(found)


def answer_margins(
    model: Any, processor: Any, world: World, media: Sequence[Any], prompts: Sequence[str], **kwargs: Any
) -> NDArray[np.float64]:
    """Return the logit of yes minus that of no for the first generated token, shape [N].

    Parameters
    ----------
    model, processor, world, media, prompts, **kwargs
        As in ``first_logits``.
    """
    yes, no = processor.tokenizer.convert_tokens_to_ids([YES, NO])
    logits = first_logits(model, processor, world, media, prompts, **kwargs)
    margins: NDArray[np.float64] = logits[:, yes] - logits[:, no]
    return margins


def open_answers(
    model: Any, processor: Any, evaluation: EvaluationSet, questions: Sequence[OpenQuestion], **kwargs: Any
) -> list[str]:
    """Return the most probable of the words that can answer each open question."""
    media, prompts = [evaluation.media[q.scene] for q in questions], [q.prompt for q in questions]
    logits = first_logits(model, processor, evaluation.world, media, prompts, **kwargs)
    ids = [processor.tokenizer.convert_tokens_to_ids(list(q.choices)) for q in questions]
    return [q.choices[int(row[of].argmax())] for q, row, of in zip(questions, logits, ids, strict=True)]


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
    words = processor.tokenizer.convert_tokens_to_ids([p.word for p in probed])
    prompts = [p.prompt for p in probed]

    def log_probabilities(media: Sequence[Any]) -> NDArray[np.float64]:
        given = [media[p.scene] for p in probed]
        logits = first_logits(model, processor, evaluation.world, given, prompts, **kwargs)
        chosen: NDArray[np.float64] = log_softmax(logits, axis=1)[np.arange(len(probed)), words]
        return chosen

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
