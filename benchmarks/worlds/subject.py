"""What training needs to know of a world: its texts, its pictures or sounds, and the model that it makes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lime_xai.worlds.shared.chat import MAX_LENGTH
from lime_xai.worlds.shared.language import BOS, EOS, PAD, Truth

from .corpus import Style


@dataclass(frozen=True)
class Size:
    """Widths and depths of a model.

    Attributes
    ----------
    tower_width, tower_inner, tower_layers : int
        Of the encoder of images or sounds, which has four heads.
    width, inner, layers, heads, key_value_heads : int
        Of the decoder.
    """

    tower_width: int
    tower_inner: int
    tower_layers: int
    width: int
    inner: int
    layers: int
    heads: int
    key_value_heads: int

    def decoder_settings(self, vocabulary: Mapping[str, int]) -> dict[str, Any]:
        """Return the settings of a decoder that Llama and Qwen2 share."""
        return {
            "vocab_size": len(vocabulary),
            "hidden_size": self.width,
            "intermediate_size": self.inner,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_value_heads,
            "max_position_embeddings": MAX_LENGTH,
            "bos_token_id": vocabulary[BOS],
            "eos_token_id": vocabulary[EOS],
            "pad_token_id": vocabulary[PAD],
            "tie_word_embeddings": False,
        }


class Subject(ABC):
    """A world to train a model of.

    Attributes
    ----------
    style : Style
        What its texts are made of.
    slots : tuple of int
        Token ids of the context of a document about an image or a sound: placeholders, and marks around them.
    placeholder : int
        The id among them whose embeddings the tower's features replace.
    sizes : mapping of str to Size
        Sizes of models by name: parameters in millions.
    """

    style: Style
    slots: tuple[int, ...]
    placeholder: int
    sizes: Mapping[str, Size]

    @abstractmethod
    def new_model(self, size: str) -> PreTrainedModel:
        """Return a model with weights drawn from torch's global generator."""

    @abstractmethod
    def build_processor(self) -> Any:
        """Return the processor that is saved beside the model."""

    @abstractmethod
    def tower(self, model: PreTrainedModel) -> nn.Module:
        """Return the encoder of images or sounds."""

    @abstractmethod
    def projector(self, model: PreTrainedModel) -> nn.Module:
        """Return what maps its features to the width of the decoder."""

    @abstractmethod
    def perceive(self, rng: np.random.Generator, truths: Sequence[Truth]) -> Tensor:
        """Draw pictures or sounds as training shows them, shape [B, ...], as ``features`` takes them."""

    @abstractmethod
    def features(self, model: PreTrainedModel, perceived: Tensor) -> Tensor:
        """Return what the projector is given, shape [B, S, D]: one row per placeholder."""

    def build_model(self, seed: int, size: str = "1m") -> PreTrainedModel:
        """Return a model with random weights on the CPU, float32; torch's global generator is left as it was.

        Parameters
        ----------
        seed : int
            Seed of the initial weights.
        size : str
            A key of ``sizes``.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = self.new_model(size)
        vocabulary, settings = self.style.language.vocabulary, model.generation_config
        settings.bos_token_id, settings.eos_token_id = vocabulary[BOS], vocabulary[EOS]
        settings.pad_token_id = vocabulary[PAD]
        return model


def answer_logits(
    subject: Subject, model: Any, tokens: Tensor, wanted: Tensor, features: Tensor | None = None
) -> Tensor:
    """Return next-token logits at chosen positions of a right-padded training batch.

    Parameters
    ----------
    subject : Subject
        The world.
    model : PreTrainedModel
        Its model.
    tokens : Tensor
        Token ids, shape [B, T], padded on the right (so that causal attention needs no mask).
    wanted : Tensor
        Boolean mask of positions, shape [B, T].
    features : Tensor, optional
        Features [B, S, D] for the placeholders; without it there must be none.

    Returns
    -------
    Tensor
        Shape [N, V] for the N wanted positions.
    """
    embedded = model.get_input_embeddings()(tokens)
    if features is not None:
        slots = (tokens == subject.placeholder)[..., None]
        embedded = embedded.masked_scatter(slots, subject.projector(model)(features))
    hidden = model.get_decoder()(inputs_embeds=embedded, use_cache=False).last_hidden_state
    logits: Tensor = model.get_output_embeddings()(hidden[wanted])
    return logits
