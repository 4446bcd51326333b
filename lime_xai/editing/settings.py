"""The settings of an edit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple

import torch
from torch import Tensor
from transformers import Cache

from lime_rules import LRP_METHODS
from lime_xai.model.cache import slots
from lime_xai.model.modalities import Modalities
from lime_xai.model.positions import Positions
from lime_xai.values.checking import Fraction, Known, Natural, Positive, check_fields

from .deltas import DELTAS, Deltas, LayerShape
from .objective import RelevanceObjective


class ObjectiveMasks(NamedTuple):
    """The positions of an objective, ``[B, T]`` bool each.

    Attributes
    ----------
    sought : Tensor
        Whose relevance it asks for; of all others it asks for less.
    counted : Tensor
        The positions that count.
    """

    sought: Tensor
    counted: Tensor

    def to(self, device: torch.device) -> ObjectiveMasks:
        """Return the masks on a device."""
        return ObjectiveMasks(self.sought.to(device), self.counted.to(device))


@dataclass(frozen=True)
class EditSettings:
    """How an edit is found.

    Parameters
    ----------
    objective : RelevanceObjective
        What is minimised.
    method : str
        LRP composite: ``attnlrp``, ``cplrp`` or ``gradient_input``.
    scope : {"cache", "sequence"}
        One-token graph over the KV cache with relevance of the direct form, or the whole sequence run again from its
        merged embeddings with full propagation (the paper's).
    deltas : {"gain", "free"}
        One factor per layer, head and modality, or one delta per slot and channel (the paper's).
    edit : {"values", "keys", "both"}
        What is edited.
    positions : {"perceptual", "all"}
        Which slots are edited: those of ``modalities``, or all.
    layers : tuple of int, optional
        Which decoder layers; None: all. Negative numbers count from the end.
    steps : int
        Number of updates; all are used. 0 leaves generation untouched.
    learning_rate : float
        Of Adam, fresh for every token.
    second_order : {"exact", "frozen"}
        Whether the rules' ratios are differentiated.
    include_bos : bool
        Whether the beginning-of-sequence token counts as attended in the objective.
    direction : {"auto", "forward", "backward"}
        How the objective is differentiated: one backward pass through the relevance stream, or a double backward pass.
        Both give the same edit. ``forward`` needs cache scope, a ``difference`` objective, exact second derivatives and
        a model that passes the adjoint check; it records no shares. ``auto`` uses it where it is possible, and warns
        where the model is the reason that it is not.
    plateau : float
        A row is not updated further once an update has lowered its loss by less than this fraction; 0: never stop.
    kl_budget : float, optional
        A row is not updated further once its KL divergence from the plain prediction has reached this, in nats.
    modalities : tuple of str, optional
        The perceptual group, ``("audio",)`` for example: whose slots are edited, and whose relevance the objective asks
        for unless it names modalities of its own. Relevance of other modalities counts as that of text does. None: all
        modalities of the prompt.

    Raises
    ------
    ValueError
        For unknown names, negative ``steps``, ``learning_rate <= 0``, a plateau outside [0, 1) or a budget that is not
        positive.
    """

    objective: RelevanceObjective = field(
        default_factory=lambda: RelevanceObjective(form="difference", target="expected")
    )
    method: Annotated[str, Known(LRP_METHODS)] = "attnlrp"
    scope: Literal["cache", "sequence"] = "cache"
    deltas: Literal["gain", "free"] = "gain"
    edit: Literal["values", "keys", "both"] = "values"
    positions: Literal["perceptual", "all"] = "perceptual"
    layers: tuple[int, ...] | None = None
    steps: Natural = 2
    learning_rate: Positive = 0.5
    second_order: Literal["exact", "frozen"] = "exact"
    include_bos: bool = False
    direction: Literal["auto", "forward", "backward"] = "auto"
    plateau: Fraction = 0.0
    kl_budget: Positive | None = None
    modalities: Modalities = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.direction == "forward" and not self._forward:
            raise ValueError(
                "direction='forward' needs scope='cache', an objective of the form 'difference' and "
                f"second_order='exact'; found {self.scope!r}, {self.objective.form!r}, {self.second_order!r}."
            )

    @property
    def _forward(self) -> bool:
        return (self.scope, self.objective.form, self.second_order) == ("cache", "difference", "exact")

    @property
    def forward_method(self) -> str | None:
        """The LRP method whose stream the edit uses; None: it uses double backward passes."""
        return self.method if self._forward and self.direction != "backward" else None

    @property
    def groups(self) -> tuple[Modalities, ...]:
        """The groups that the prompt must hold: the edited one and the objective's."""
        return self.modalities, self.objective.modalities

    def masks(self, positions: Positions) -> ObjectiveMasks:
        """Return the positions whose relevance the objective asks for, and those that count in it."""
        names = self.modalities if self.objective.modalities is None else self.objective.modalities
        counted = positions.attended if self.include_bos else positions.attended & ~positions.bos
        return ObjectiveMasks(positions.group(names), counted)

    def zero_deltas(self, past: Cache, positions: Positions, length: int) -> Deltas:
        """Return deltas that change nothing yet.

        Parameters
        ----------
        past : Cache
            Gives the shapes.
        positions : Positions
            ``[B, T]``.
        length : int
            Number of positions, counted from the first, that may be edited.

        Raises
        ------
        ValueError
            If a layer is out of range or no chosen layer holds slots.
        """
        inside = torch.arange(positions.length, device=positions.attended.device) < length
        named = None if self.positions == "all" else self.modalities
        masks = {name: mask & inside for name, mask in positions.modalities.items() if named is None or name in named}
        if self.positions == "all":
            masks["text"] = positions.attended & ~positions.perceptual & inside
        held = slots(past)
        count = len(past.layers)
        self.check_layers(count)
        layers = range(count) if self.layers is None else [layer % count for layer in self.layers]
        shapes = {i: LayerShape.of(*held[i], positions.length) for i in layers if i in held}
        if not shapes:
            raise ValueError(f"None of the layers {list(layers)} holds keys and values that could be edited.")
        return DELTAS[self.deltas](shapes, masks, self.edit)

    def check_layers(self, layers: int) -> None:
        """Refuse a decoder that lacks some of the layers to edit.

        Parameters
        ----------
        layers : int
            Number of decoder layers.

        Raises
        ------
        ValueError
            Naming the layers that are out of range.
        """
        bad = [layer for layer in self.layers or () if not -layers <= layer < layers]
        if bad:
            raise ValueError(f"layers {bad} are out of range; the decoder has {layers} layers (0 to {layers - 1}).")
