"""The three training stages: vision tower, decoder on text alone, and light alignment of the two."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlavaForConditionalGeneration

from lime_xai.worlds.scene.images import render, token_cells
from lime_xai.worlds.scene.objects import CLASSES, COLOURS, SIDES
from lime_xai.worlds.scene.scenes import EMPTY, as_arrays, independent_scene
from lime_xai.worlds.scene.text import NO, VOCABULARY, YES

from .corpus import conversation
from .documents import IGNORED, IMAGE_SLOTS, Document, document, pack, tag_words
from .network import SIZES, answer_logits, patch_features
from .plan import Plan

TRAINING_NOISE = (0.0, 0.35)
TRAINING_OPACITY = (0.35, 1.0)


class Stage(ABC):
    """One stage: which parameters it trains, at which rates, and the loss of a step.

    Parameters
    ----------
    model : LlavaForConditionalGeneration
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

    def __init__(self, model: LlavaForConditionalGeneration, plan: Plan) -> None:
        self.model, self.plan = model, plan

    @property
    @abstractmethod
    def steps(self) -> int:
        """Number of optimiser steps."""

    @abstractmethod
    def parameters(self) -> Sequence[tuple[float, Sequence[nn.Parameter]]]:
        """Return groups of trained parameters with their highest learning rate."""

    @abstractmethod
    def loss(self, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, float]]:
        """Draw a batch from ``rng``; return the scalar loss and the numbers worth showing."""

    def auxiliary(self) -> nn.Module:
        """Return modules that only training needs, to be saved in checkpoints."""
        return nn.Module()


class VisionStage(Stage):
    """Every patch names the class, the colour and the side of its cell."""

    name = "vision"
    weight_decay = 0.05

    def __init__(self, model: LlavaForConditionalGeneration, plan: Plan) -> None:
        super().__init__(model, plan)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            width = SIZES[plan.size].vision_width
            self._head = nn.Linear(width, len(CLASSES) + 1 + len(COLOURS) + len(SIDES))
        self._cells = token_cells()

    @property
    def steps(self) -> int:
        """Number of optimiser steps."""
        return self.plan.vision_steps

    def parameters(self) -> Sequence[tuple[float, Sequence[nn.Parameter]]]:
        """Return groups of trained parameters with their highest learning rate."""
        tower = list(self.model.model.vision_tower.parameters())
        return [(self.plan.vision_rate, [*tower, *self._head.parameters()])]

    def auxiliary(self) -> nn.Module:
        """Return the patch classifier."""
        return self._head

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, float]]:
        """Draw a batch; return its loss and the numbers worth showing."""
        scenes = [self.plan.pictured_scene(rng) for _ in range(self.plan.vision_batch)]
        pixels = torch.from_numpy(render(rng, scenes, noise=TRAINING_NOISE, opacity=TRAINING_OPACITY))
        classes, colours = as_arrays(scenes)
        empty = len(CLASSES)
        wanted = torch.from_numpy(np.where(classes == EMPTY, empty, classes)[:, self._cells]).flatten()
        shades = torch.from_numpy(np.where(colours == EMPTY, IGNORED, colours)[:, self._cells]).flatten()
        scores = self._head(patch_features(self.model, pixels)).flatten(0, 1)
        named, coloured, placed = scores.split((empty + 1, len(COLOURS), len(SIDES)), dim=1)
        sides = torch.from_numpy(np.tile(self._cells % len(SIDES), len(scenes)))
        loss = functional.cross_entropy(named, wanted)
        loss = loss + 0.5 * functional.cross_entropy(coloured, shades, ignore_index=IGNORED)
        loss = loss + 0.2 * functional.cross_entropy(placed, sides)
        seen = wanted != empty
        right = (named[seen].argmax(-1) == wanted[seen]).float().mean()
        return loss, {"objects right": right.item()}


def text_documents(rng: np.random.Generator, plan: Plan, count: int) -> list[Document]:
    """Draw text-only documents: conversations without a context, and conversations about tag words."""
    documents = []
    for _ in range(count):
        if rng.random() < plan.text_tagged:
            scene = independent_scene(rng)
            turns = conversation(rng, scene, plan.habits_of_text, int(rng.integers(1, 4)))
            context = tag_words(rng, scene, dropped=0.1)
        else:
            turns = conversation(rng, plan.spoken_scene(rng), plan.habits_of_text, int(rng.integers(1, 5)))
            context = ()
        documents.append(document(turns, context, train_questions=True))
    return documents


def _token_loss(
    model: LlavaForConditionalGeneration, documents: Sequence[Document], features: Tensor | None = None
) -> tuple[Tensor, float]:
    """Return the mean cross-entropy of labelled tokens and the accuracy of yes/no answers among them."""
    tokens, labels = pack(documents)
    targets = functional.pad(labels[:, 1:], (0, 1), value=IGNORED)
    wanted = targets != IGNORED
    logits, targets = answer_logits(model, tokens, wanted, features), targets[wanted]
    closed = (targets == VOCABULARY[YES]) | (targets == VOCABULARY[NO])
    accuracy = (logits[closed].argmax(-1) == targets[closed]).float().mean().item()
    return functional.cross_entropy(logits, targets), accuracy


class TextStage(Stage):
    """The decoder learns the language, and its priors, without any image."""

    name = "text"
    weight_decay = 0.03

    @property
    def steps(self) -> int:
        """Number of optimiser steps."""
        return self.plan.text_steps

    def parameters(self) -> Sequence[tuple[float, Sequence[nn.Parameter]]]:
        """Return groups of trained parameters with their highest learning rate."""
        decoder = list(self.model.model.language_model.parameters())
        return [(self.plan.text_rate, [*decoder, *self.model.lm_head.parameters()])]

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, float]]:
        """Draw a batch; return its loss and the numbers worth showing."""
        loss, accuracy = _token_loss(self.model, text_documents(rng, self.plan, self.plan.text_batch))
        return loss, {"loss": loss.item(), "yes/no right": accuracy}


class AlignmentStage(Stage):
    """Projector and decoder learn to use the frozen tower; a share of pure text keeps the priors alive."""

    name = "alignment"
    weight_decay = 0.01

    @property
    def steps(self) -> int:
        """Number of optimiser steps."""
        return self.plan.alignment_steps

    def parameters(self) -> Sequence[tuple[float, Sequence[nn.Parameter]]]:
        """Return groups of trained parameters with their highest learning rate."""
        decoder = list(self.model.model.language_model.parameters())
        return [
            (self.plan.alignment_projector_rate, list(self.model.model.multi_modal_projector.parameters())),
            (self.plan.alignment_decoder_rate, [*decoder, *self.model.lm_head.parameters()]),
        ]

    def loss(self, rng: np.random.Generator) -> tuple[Tensor, Mapping[str, float]]:
        """Draw a batch; return its loss and the numbers worth showing."""
        plan = self.plan
        text = round(plan.alignment_text_share * plan.alignment_batch)
        both = [plan.aligned_scene(rng) for _ in range(plan.alignment_batch - text)]
        scenes, shown = [told for told, _ in both], [seen for _, seen in both]
        pixels = torch.from_numpy(render(rng, shown, noise=TRAINING_NOISE, opacity=TRAINING_OPACITY))
        with torch.no_grad():
            features = patch_features(self.model, pixels)
        habits = plan.habits_of_alignment
        written = [conversation(rng, s, habits, int(rng.integers(1, 4))) for s in scenes]
        documents = [document(turns, IMAGE_SLOTS) for turns in written]
        loss, accuracy = _token_loss(self.model, documents, features)
        numbers = {"loss": loss.item(), "yes/no right": accuracy}
        if text:
            text_loss, _ = _token_loss(self.model, text_documents(rng, plan, text))
            loss = loss + text_loss * text / len(scenes)
        return loss, numbers


STAGES: tuple[type[Stage], ...] = (VisionStage, TextStage, AlignmentStage)
