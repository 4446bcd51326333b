"""The training stages that every world has: decoder on text alone, and light alignment with the frozen tower."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from lime_xai.worlds.shared.language import NO, YES

from .corpus import conversation
from .documents import IGNORED, Document, document, pack, tag_words
from .plan import Plan
from .subject import Subject, answer_logits


class Stage(ABC):
    """One stage: which parameters it trains, at which rates, and the loss of a step.

    Parameters
    ----------
    subject : Subject
        The world.
    model : PreTrainedModel
        Trained in place.
    plan : Plan
        Settings.
    """

    name: ClassVar[str]
    weight_decay: ClassVar[float]
    warm_up: ClassVar[float] = 0.04
    """Share of the steps in which the rate rises."""
    final: ClassVar[float] = 0.05
    """Last learning rate as a fraction of the highest."""

    def __init__(self, subject: Subject, model: PreTrainedModel, plan: Plan) -> None:
        self.subject, self.model, self.plan = subject, model, plan

    @property
    def steps(self) -> int:
        """Number of optimiser steps: the plan's setting of this stage."""
        return int(self.setting("steps"))

    def setting(self, name: str) -> Any:
        """Return a setting of the plan that begins with the name of this stage."""
        return getattr(self.plan, f"{self.name}_{name}")

    @abstractmethod
    def parameters(self) -> Sequence[tuple[float, Sequence[nn.Parameter]]]:
        """Return groups of trained parameters with their highest learning rate."""

    @abstractmethod
    def loss(self, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, float]]:
        """Draw a batch from ``rng``; return the scalar loss and the numbers worth showing."""

    def auxiliary(self) -> nn.Module:
        """Return modules that only training needs, to be saved in checkpoints."""
        return nn.Module()

    def decoder_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the language model and its head."""
        model: Any = self.model
        return [*model.get_decoder().parameters(), *model.get_output_embeddings().parameters()]


class PerceptionStage(Stage):
    """The tower learns to tell what each of its positions shows or lets hear, by a classifier that is then dropped."""

    weight_decay = 0.05
    outputs: ClassVar[int]
    """Scores per position."""

    def __init__(self, subject: Subject, model: PreTrainedModel, plan: Plan) -> None:
        super().__init__(subject, model, plan)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self._head = nn.Linear(subject.sizes[plan.size].tower_width, self.outputs)

    def parameters(self) -> Sequence[tuple[float, Sequence[nn.Parameter]]]:
        """Return groups of trained parameters with their highest learning rate."""
        tower = list(self.subject.tower(self.model).parameters())
        return [(self.setting("rate"), [*tower, *self._head.parameters()])]

    def auxiliary(self) -> nn.Module:
        """Return the classifier."""
        return self._head

    def scores(self, perceived: Tensor) -> Tensor:
        """Return the classifier's scores of pictures or sounds, shape [B, S, ``outputs``]."""
        scores: Tensor = self._head(self.subject.features(self.model, perceived))
        return scores


def text_documents(rng: np.random.Generator, subject: Subject, plan: Plan, count: int) -> list[Document]:
    """Draw text-only documents: conversations without a context, and conversations about tag words."""
    style, habits = subject.style, plan.habits_of_text
    documents = []
    for _ in range(count):
        context: tuple[int, ...] = ()
        if rng.random() < plan.text_tagged:
            truth = plan.independent(rng)
            turns = conversation(rng, style, truth, habits, int(rng.integers(1, 4)))
            context = tag_words(rng, style.language, truth, dropped=0.1)
        else:
            turns = conversation(rng, style, plan.spoken(rng), habits, int(rng.integers(1, 5)))
        documents.append(document(style.language, turns, context, train_questions=True))
    return documents


def _token_loss(
    subject: Subject, model: PreTrainedModel, documents: Sequence[Document], features: Tensor | None = None
) -> tuple[Tensor, float]:
    """Return the mean cross-entropy of labelled tokens and the accuracy of yes/no answers among them."""
    vocabulary = subject.style.language.vocabulary
    tokens, labels = pack(subject.style.language, documents)
    targets = functional.pad(labels[:, 1:], (0, 1), value=IGNORED)
    wanted = targets != IGNORED
    logits, targets = answer_logits(subject, model, tokens, wanted, features), targets[wanted]
    closed = (targets == vocabulary[YES]) | (targets == vocabulary[NO])
    accuracy = (logits[closed].argmax(-1) == targets[closed]).float().mean().item()
    return functional.cross_entropy(logits, targets), accuracy


class TextStage(Stage):
    """The decoder learns the language, and its priors, without any image or sound."""

    name = "text"
    weight_decay = 0.03

    def parameters(self) -> Sequence[tuple[float, Sequence[nn.Parameter]]]:
        """Return groups of trained parameters with their highest learning rate."""
        return [(self.plan.text_rate, self.decoder_parameters())]

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, float]]:
        """Draw a batch; return its loss and the numbers worth showing."""
        documents = text_documents(rng, self.subject, self.plan, self.plan.text_batch)
        loss, accuracy = _token_loss(self.subject, self.model, documents)
        return loss, {"loss": loss.item(), "yes/no right": accuracy}


class AlignmentStage(Stage):
    """Projector and decoder learn to use the frozen tower; a share of pure text keeps the priors alive."""

    name = "alignment"
    weight_decay = 0.01

    def parameters(self) -> Sequence[tuple[float, Sequence[nn.Parameter]]]:
        """Return groups of trained parameters with their highest learning rate."""
        return [
            (self.plan.alignment_projector_rate, list(self.subject.projector(self.model).parameters())),
            (self.plan.alignment_decoder_rate, self.decoder_parameters()),
        ]

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, float]]:
        """Draw a batch; return its loss and the numbers worth showing."""
        subject, plan = self.subject, self.plan
        text = round(plan.alignment_text_share * plan.alignment_batch)
        both = [plan.aligned(rng) for _ in range(plan.alignment_batch - text)]
        perceived = subject.perceive(rng, [shown for _, shown in both])
        with torch.no_grad():
            features = subject.features(self.model, perceived)
        style, habits = subject.style, plan.habits_of_alignment
        written = [conversation(rng, style, told, habits, int(rng.integers(1, 4))) for told, _ in both]
        documents = [document(style.language, turns, subject.slots) for turns in written]
        loss, accuracy = _token_loss(subject, self.model, documents, features)
        numbers = {"loss": loss.item(), "yes/no right": accuracy}
        if text:
            text_loss, _ = _token_loss(subject, self.model, text_documents(rng, subject, plan, text))
            loss = loss + text_loss * text / len(both)
        return loss, numbers
