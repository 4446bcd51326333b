"""A finished answer word by word, without relevance: its probability, and how much it rests on what is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from lime_xai.branches.branch import BranchKind
from lime_xai.model.positions import Perceptual
from lime_xai.model.prompt import Prompt, PromptLike, read_prompt

from .decisions import decisions, logits_along
from .given import check_one, given_answer
from .words import words_of


@dataclass(frozen=True)
class ScoredWord:
    """A word of a finished answer.

    Attributes
    ----------
    text, lead : str
        The word, and white space before it.
    start, stop : int
        Its tokens, ``start <= token < stop``.
    special : bool
        Whether it is a control token, such as the end of the answer.
    probability : float
        Of its tokens together, in the model without a policy.
    entropy : float
        Of the distribution of its first token, in nats.
    grounding : float or None
        Log-probability of its tokens minus that in the model that perceives nothing, in nats; None if it is not known.
    """

    text: str
    lead: str
    start: int
    stop: int
    special: bool
    probability: float
    entropy: float
    grounding: float | None


@dataclass(frozen=True)
class ScoredAnswer:
    """A finished answer.

    Attributes
    ----------
    words : tuple of ScoredWord
        In order.
    no_grounding : str or None
        Why the grounding is not known.
    """

    words: tuple[ScoredWord, ...]
    no_grounding: str | None = None

    @property
    def worst(self) -> ScoredWord | None:
        """The word with the lowest grounding, control tokens left out; None if none has one."""
        known = [(word.grounding, word) for word in self.words if word.grounding is not None and not word.special]
        return min(known, key=lambda pair: pair[0])[1] if known else None

    def to_dict(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return asdict(self)


def score_answer(
    model: PreTrainedModel,
    inputs: PromptLike,
    answer: str | Sequence[int] | Tensor,
    *,
    processor: Any = None,
    perceptual: Perceptual = None,
) -> ScoredAnswer:
    """Score every word of an answer that the model, or another system, has written.

    The answer is decoded once, token by token, with a blind branch beside the model (that of ``Contrast``: the prompt
    without its images, videos and sounds). ``explain`` gives the same numbers, and relevance, which takes a backward
    pass for every token.

    Parameters
    ----------
    model : PreTrainedModel
        A decoder-only model in eval mode.
    inputs : mapping or Prompt
        One prompt.
    answer : str, sequence of int or Tensor
        What was written; token ids as a list, or as a tensor ``[1, G]``.
    processor : object
        The processor, or the tokenizer of a text-only model. Not needed for a ``Prompt`` that was read with it.
    perceptual : Tensor or mapping, optional
        As in ``attribute``.

    Returns
    -------
    ScoredAnswer

    Raises
    ------
    ValueError, TypeError
        For bad input, before any compute: several prompts, no processor, an answer without tokens, or with tokens after
        one that ends it.
    """
    prompt = read_prompt(model, inputs, processor=processor, perceptual=perceptual)
    check_one(prompt, "score_answer")
    ids = given_answer(prompt, answer)
    plain, blind, reason = _logits(prompt, ids)
    sure = decisions(plain, ids)
    gain = None if blind is None else sure.log_probability - decisions(blind, ids).log_probability
    before = prompt.positions.input_ids[0, -1:].tolist()
    made = []
    for word in words_of(ids.tolist(), prompt.processor, before):
        tokens = slice(word.start, word.stop)
        made.append(
            ScoredWord(
                text=word.text,
                lead=word.lead,
                start=word.start,
                stop=word.stop,
                special=word.special,
                probability=float(sure.log_probability[tokens].sum().exp()),
                entropy=float(sure.entropy[word.start]),
                grounding=None if gain is None else float(gain[tokens].sum()),
            )
        )
    return ScoredAnswer(tuple(made), reason)


def _logits(prompt: Prompt, ids: Tensor) -> tuple[Tensor, Tensor | None, str | None]:
    """Return the logits ``[G, V]`` along an answer, those of the blind branch, and why there are none of it."""
    reason = "the prompt holds nothing that is perceived"
    if prompt.positions.modalities:
        try:
            _, plain, blind = logits_along(prompt, ids, kind=BranchKind("blind"))
        except (ValueError, NotImplementedError) as error:
            reason = str(error)
        else:
            return plain, blind, None
    recorded = prompt.recording(ids[None], logits=True).logits
    if recorded is None:
        raise RuntimeError("The answer was recorded without logits.")
    return recorded[0], None, reason
