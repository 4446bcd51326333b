"""The perceptual-reliance loss on relevance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from lime_xai.model.modalities import Modalities
from lime_xai.values.checking import NotNegative, Positive, check_fields, shown

Form = Literal["contrastive", "difference"]
ObjectiveTarget = Literal["argmax", "margin", "expected"]
KLDirection = Literal["steered_reference", "reference_steered"]
FORMS: tuple[Form, ...] = get_args(Form)
TARGETS: tuple[ObjectiveTarget, ...] = get_args(ObjectiveTarget)
KL_DIRECTIONS: tuple[KLDirection, ...] = get_args(KLDirection)


@dataclass(frozen=True)
class RelevanceObjective:
    r"""A loss that falls as relevance on perceptual tokens grows (LIME, arXiv 2605.01766).

    ``contrastive`` (the paper's): :math:`-\frac{1}{|M|}\sum_{i \in M} \log\mathrm{softmax}(\Phi/\tau)_i` over the
    attended positions. ``difference``: :math:`\sum_{i \in T} \Phi_i - \sum_{i \in M} \Phi_i`. Both add
    :math:`\lambda\,\mathrm{KL}` between the steered and the reference distribution of the next token.

    Parameters
    ----------
    form : {"contrastive", "difference"}
        Which of the two.
    temperature : float
        :math:`\tau > 0`, contrastive form only.
    kl_weight : float
        :math:`\lambda \ge 0`.
    kl_direction : {"steered_reference", "reference_steered"}
        ``KL(p_delta || p_0)`` (paper) or ``KL(p_0 || p_delta)`` (published code).
    target : {"argmax", "margin", "expected"}
        The scalar whose relevance is taken: the largest logit; the difference of the two logits that are largest
        without steering; the mean over the unsteered distribution of the centred logits.
    modalities : tuple of str, optional
        Whose positions are :math:`M`, ``("audio",)`` for example. All others, those of other modalities too, are
        :math:`T`. None: those of the edit, which are all perceptual ones unless it names some. ``Edit`` selects them
        from the prompt; a call of the objective is given the mask.

    Raises
    ------
    ValueError
        For unknown names, ``temperature <= 0``, ``kl_weight < 0``, or numbers that are not finite.
    TypeError
        For values of another type.

    Examples
    --------
    >>> import torch
    >>> from lime_xai import RelevanceObjective
    >>> relevance = torch.tensor([[2.0, 1.0, 0.5]])
    >>> perceptual, attended = torch.tensor([[True, False, False]]), torch.tensor([[True, True, True]])
    >>> logits = torch.tensor([[1.0, 3.0]])
    >>> objective = RelevanceObjective(form="difference")  # text 1.5 minus image 2, no divergence
    >>> objective(relevance, perceptual, attended, logits, logits)
    tensor([-0.5000])
    """

    form: Form = "contrastive"
    temperature: Positive = 0.1
    kl_weight: NotNegative = 0.1
    kl_direction: KLDirection = "steered_reference"
    target: ObjectiveTarget = "argmax"
    modalities: Modalities = None

    def __post_init__(self) -> None:
        check_fields(self)

    def target_value(self, logits: Tensor, reference_logits: Tensor) -> Tensor:
        """Return the scalar to explain, per row.

        Parameters
        ----------
        logits : Tensor
            ``[B, V]`` with the edit.
        reference_logits : Tensor
            ``[B, V]`` without it.

        Returns
        -------
        Tensor
            ``[B]``.
        """
        if self.target == "argmax":
            return logits.max(-1).values
        if self.target == "margin":
            pair = logits.gather(-1, reference_logits.topk(2, -1).indices)
            return pair[:, 0] - pair[:, 1]
        return (reference_logits.softmax(-1) * (logits - logits.mean(-1, keepdim=True))).sum(-1)

    def direction(self, logits: Tensor, reference_logits: Tensor) -> Tensor:
        """Return the derivative of ``target_value`` with respect to the logits, ``[B, V]``; it is piecewise constant.

        Parameters
        ----------
        logits, reference_logits : Tensor
            As in ``target_value``.
        """
        if self.target == "argmax":
            return torch.zeros_like(logits).scatter(-1, logits.argmax(-1, keepdim=True), 1.0)
        if self.target == "margin":
            pair = reference_logits.topk(2, -1).indices
            return torch.zeros_like(logits).scatter(-1, pair, logits.new_tensor([1.0, -1.0]).expand(len(pair), -1))
        return reference_logits.softmax(-1) - 1 / logits.shape[-1]

    def relevance_loss(self, relevance: Tensor, perceptual: Tensor, attended: Tensor) -> Tensor:
        """Return the loss without its KL term, ``[B]``; arguments as in the call."""
        seen = perceptual & attended
        if self.form == "difference":
            text = attended & ~perceptual
            return (relevance * text).sum(-1) - (relevance * seen).sum(-1)
        floor = torch.finfo(relevance.dtype).min
        log_share = (relevance / self.temperature).masked_fill(~attended, floor).log_softmax(-1)
        count = seen.sum(-1).clamp(min=1)
        return -log_share.masked_fill(~seen, 0.0).sum(-1) / count

    def divergence(self, logits: Tensor, reference_logits: Tensor) -> Tensor:
        """Return the KL divergence in the chosen direction, ``[B]``, in nats."""
        steered, reference = logits.log_softmax(-1), reference_logits.log_softmax(-1)
        if self.kl_direction == "steered_reference":
            return (steered.exp() * (steered - reference)).sum(-1)
        return (reference.exp() * (reference - steered)).sum(-1)

    def __call__(
        self,
        relevance: Tensor,
        perceptual: Tensor,
        attended: Tensor,
        logits: Tensor,
        reference_logits: Tensor,
    ) -> Tensor:
        """Return the loss of each row.

        Parameters
        ----------
        relevance : Tensor
            ``[B, T]``, float, attached to what is optimised.
        perceptual, attended : Tensor
            ``[B, T]``, bool: :math:`M`, and all that count. Positions outside ``attended`` (padding) do not count.
        logits, reference_logits : Tensor
            ``[B, V]`` with and without the edit.

        Returns
        -------
        Tensor
            ``[B]``, differentiable.

        Raises
        ------
        TypeError, ValueError
            For something else than tensors, masks that are not bool, and shapes that do not belong together.
        """
        _check_parts(relevance, perceptual, attended, logits, reference_logits)
        loss = self.relevance_loss(relevance, perceptual, attended)
        return loss + self.kl_weight * self.divergence(logits, reference_logits)


def _check_parts(relevance: Tensor, perceptual: Tensor, attended: Tensor, logits: Tensor, reference: Tensor) -> None:
    """Refuse what is no relevance ``[B, T]`` with its masks, and no logits ``[B, V]`` of the same rows."""
    parts = {"relevance": relevance, "perceptual": perceptual, "attended": attended}
    parts |= {"logits": logits, "reference_logits": reference}
    for name, value in parts.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} is {shown(value)}; expected a tensor.")
        masks = name in ("perceptual", "attended")
        if value.dtype != torch.bool if masks else not value.is_floating_point():
            raise TypeError(f"{name} is a tensor of {value.dtype}; expected {'torch.bool' if masks else 'floats'}.")
    shapes = {name: tuple(value.shape) for name, value in parts.items()}
    tokens, entries = shapes["relevance"], shapes["logits"]
    same = shapes["perceptual"] == shapes["attended"] == tokens and shapes["reference_logits"] == entries
    if not same or len(tokens) != 2 or len(entries) != 2 or tokens[0] != entries[0]:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"The shapes do not belong together: {listed}; expected [B, T] three times, and [B, V] twice.")
