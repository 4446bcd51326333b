"""Captions and answers of a model on an evaluation set, all through ``model.generate``."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import LogitsProcessor, LogitsProcessorList

from lime_xai.worlds.scene.evaluation import SPLITS, EvaluationSet, Question
from lime_xai.worlds.scene.metrics import CaptionMetrics, ClosedMetrics, caption_metrics, closed_metrics
from lime_xai.worlds.scene.objects import CLASSES
from lime_xai.worlds.scene.text import EOS, NO, PAD, YES

CAPTION_TOKENS = 26
"""Most tokens of a caption: six objects and the end."""


class NoRepeatObjects(LogitsProcessor):  # type: ignore[misc,unused-ignore]
    """Forbid naming an object twice in the generated part of a sequence.

    Repeating what is safe lowers CHAIR for free; captions under this ban compare policies fairly. It keeps no
    state, so batches, beams and reordering are safe.

    Parameters
    ----------
    object_tokens : sequence of int
        Token ids that name objects; ``object_tokens(processor)`` gives the scene world's.
    prompt_length : int
        Number of tokens before the generated part, ``inputs["input_ids"].shape[1]``.

    Raises
    ------
    ValueError
        If there are no object tokens or the length is negative.
    """

    def __init__(self, object_tokens: Sequence[int], prompt_length: int) -> None:
        if not object_tokens or min(object_tokens) < 0:
            raise ValueError(f"object_tokens is {list(object_tokens)}; expected the ids of the object names")
        if prompt_length < 0:
            raise ValueError(f"prompt_length is {prompt_length}; expected the number of tokens of the prompt")
        self._objects = torch.tensor(list(object_tokens))
        self._prompt_length = prompt_length

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Return the scores [B, V] with every object named after the prompt at minus infinity."""
        if input_ids.shape[1] < self._prompt_length:
            raise ValueError(
                f"the sequence has {input_ids.shape[1]} tokens, fewer than the prompt length "
                f"{self._prompt_length}; pass the length of the padded prompt"
            )
        objects = self._objects.to(scores.device)
        written = input_ids[:, self._prompt_length :]
        named = (written[:, :, None] == objects).any(1)
        banned = torch.zeros_like(scores, dtype=torch.bool)
        banned[:, objects] = named
        return cast(torch.FloatTensor, scores.masked_fill(banned, float("-inf")))


def object_tokens(processor: Any) -> tuple[int, ...]:
    """Return the token ids of the object names in the order of ``CLASSES``."""
    return tuple(processor.tokenizer.convert_tokens_to_ids(list(CLASSES)))


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
    processor: Any, images: Sequence[Image.Image], prompts: Sequence[str], size: int, device: torch.device
) -> Iterator[Any]:
    """Yield the processor's batches of at most ``size`` (image, prompt) pairs on a device."""
    pairs = iter(zip(images, prompts, strict=True))
    while chunk := list(islice(pairs, size)):
        pictures, texts = [[p] for p, _ in chunk], [t for _, t in chunk]
        yield processor(images=pictures, text=texts, return_tensors="pt", padding=True).to(device)


def generate_captions(
    model: Any,
    processor: Any,
    evaluation: EvaluationSet,
    *,
    no_repeat: bool = False,
    batch_size: int = 50,
    **generate_kwargs: Any,
) -> list[str]:
    """Return the caption of every picture, greedy unless told otherwise.

    Parameters
    ----------
    model, processor : Any
        The scene world's model (possibly under a policy) and its processor.
    evaluation : EvaluationSet
        What to describe.
    no_repeat : bool
        Whether naming an object twice is forbidden (``NoRepeatObjects``).
    batch_size : int
        Pictures per call of ``generate``.
    **generate_kwargs
        Passed to ``model.generate``.

    Returns
    -------
    list of str
        Decoded captions, ending in ``</s>`` where the model ended them.
    """
    settings = {"do_sample": False, "max_new_tokens": CAPTION_TOKENS, **generate_kwargs}
    given = list(settings.pop("logits_processor", None) or ())
    prompts = [evaluation.caption_prompt] * len(evaluation.images)
    captions: list[str] = []
    for inputs in batches(processor, evaluation.images, prompts, batch_size, model.device):
        length = inputs["input_ids"].shape[1]
        ban = NoRepeatObjects(object_tokens(processor), length)
        processors = LogitsProcessorList([*given, ban] if no_repeat else given)
        sequences = model.generate(**inputs, logits_processor=processors, **settings)
        for text in processor.batch_decode(sequences[:, length:], skip_special_tokens=False):
            body, end, _ = text.partition(EOS)
            captions.append(" ".join(f"{body.replace(PAD, '')} {end}".split()))
    return captions


def answer_margins(
    model: Any,
    processor: Any,
    images: Sequence[Image.Image],
    prompts: Sequence[str],
    *,
    batch_size: int = 100,
    **generate_kwargs: Any,
) -> NDArray[np.float64]:
    """Return the logit of yes minus that of no for the first generated token, shape [N].

    Parameters
    ----------
    model, processor : Any
        The scene world's model (possibly under a policy) and its processor.
    images, prompts : sequence
        One picture and one prompt per question.
    batch_size : int
        Questions per call of ``generate``.
    **generate_kwargs
        Passed to ``model.generate``.
    """
    yes, no = processor.tokenizer.convert_tokens_to_ids([YES, NO])
    settings = {"do_sample": False, **generate_kwargs, "max_new_tokens": 1}
    margins = []
    for inputs in batches(processor, images, prompts, batch_size, model.device):
        output = model.generate(**inputs, return_dict_in_generate=True, output_logits=True, **settings)
        logits = output.logits[0].float()
        margins.append((logits[:, yes] - logits[:, no]).cpu().numpy().astype(np.float64))
    return np.concatenate(margins) if margins else np.zeros(0)


def question_margins(
    model: Any, processor: Any, evaluation: EvaluationSet, questions: Sequence[Question], **kwargs: Any
) -> NDArray[np.float64]:
    """Return ``answer_margins`` of questions of an evaluation set, shape [N]."""
    images = [evaluation.images[q.scene] for q in questions]
    return answer_margins(model, processor, images, [q.prompt for q in questions], **kwargs)


def measure(model: Any, processor: Any, evaluation: EvaluationSet, **generate_kwargs: Any) -> Measurement:
    """Measure captions, with and without the ban on repeating, and all splits of closed questions.

    Parameters
    ----------
    model, processor : Any
        The scene world's model (possibly under a policy) and its processor.
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
    return Measurement(
        caption_metrics(captions[False], evaluation.scenes),
        caption_metrics(captions[True], evaluation.scenes),
        splits,
    )
