"""Token activation maps: where last hidden states point to the explained token, minus what its context explains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from lime_xai.attribution.groups import Groups
from lime_xai.attribution.problem import Problem
from lime_xai.attribution.replacement import smooth_parts
from lime_xai.model.layouts.layout import Grid
from lime_xai.values.checking import Positive, Range

from .base import RowMethod, columns
from .registry import register_method


@register_method
@dataclass(frozen=True)
class TokenActivationMap(RowMethod):
    r"""Token activation map (after Li et al., ICCV 2025).

    With :math:`h_i` the last hidden state of position ``i`` and :math:`w` the vocabulary row of the explained token
    (for a margin, the difference of two rows), positions up to the one that the token is read from have activation
    :math:`a_i = h_i \cdot w`. Text positions get :math:`\max(0, a_i)`. Over perceptual positions,

    .. math:: I = \sum_c \max(0, a_c) \, m_c, \qquad m_{ci} = h_i \cdot w_c

    is the interference of the text tokens ``c`` before it (without the explained token itself), :math:`w_c` their
    vocabulary rows; its weights :math:`\max(0, a_c)` are normalised to sum to one. It is scaled by least squares,
    :math:`s = \max(0, a \cdot I / I \cdot I)`, and positions get :math:`\max(0, a - s I)`, smoothed over each tile
    or video frame (sounds and unknown layouts along their order) by the rank-Gaussian filter: the values of a window
    are sorted and averaged with weights :math:`\exp(-k^2 / 2 \sigma^2)`, ``k`` the distance in rank from the median.

    Written from the paper's idea; its normalisation over several tokens and its choice of :math:`\sigma` are not
    reproduced. Activations are no shares of the logit: ``Attribution.residual`` means nothing. ``column=None``: the sum
    over tokens.

    Parameters
    ----------
    window : int
        Side of the filter in tokens, odd; 1: no filter.
    sigma : float
        Of the filter, in ranks.
    """

    window: Annotated[int, Range("an odd number of tokens", lambda value: value > 0 and value % 2 == 1)] = 3
    sigma: Positive = 1.0
    limit: ClassVar[int | None] = None
    name: ClassVar[str] = "tam"

    def passes(self, problem: Problem, groups: Groups) -> int:
        """Return 1."""
        return 1

    def relevance(self, problem: Problem, groups: Groups, column: int | None) -> Tensor:
        """Return ``[T]`` float.

        Raises
        ------
        ValueError
            For a prompt given as embeddings: its context has no vocabulary rows.
        """
        if not bool(problem.input_ids[: problem.calls[0].length].any()):
            raise ValueError("tam compares with the vocabulary rows of the context; give input_ids, not inputs_embeds.")
        states = last_states(problem)
        table: Tensor = problem.replayer.model.get_output_embeddings().weight.detach()  # type: ignore[no-untyped-call]
        total = torch.zeros_like(states[:, 0])
        for index in columns(problem, column):
            total = total + self._map(problem, states, table, index)
        return total

    def _map(self, problem: Problem, states: Tensor, table: Tensor, index: int) -> Tensor:
        """Return the map ``[T]`` of one explained token."""
        own = [int(problem.ids[index])] + ([] if problem.against is None else [int(problem.against)])
        rows = table[own].to(states)
        seen = problem.attended.clone()
        seen[problem.calls[0].length + index :] = False
        perceptual = torch.zeros_like(seen)
        for mask in problem.modalities.values():
            perceptual |= mask & seen
        activation = states @ (rows[0] if len(own) == 1 else rows[0] - rows[1])
        text = seen & ~perceptual
        found = torch.where(text, activation.clamp(min=0), 0)
        context = text & ~torch.isin(problem.input_ids, torch.tensor(own, device=seen.device))
        weights = activation[context].clamp(min=0)
        weights = weights / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
        mixed = weights @ table[problem.input_ids[context]].to(states)
        found[perceptual] = without_interference(activation[perceptual], states[perceptual] @ mixed)
        for positions, grid in smooth_parts(problem.layouts):
            part = torch.tensor(positions, device=found.device)
            found[part] = rank_gaussian(found[part], grid, self.window, self.sigma)
        return found


def last_states(problem: Problem) -> Tensor:
    """Return the decoder's last hidden states of one row, ``[T, d]`` in at least float32."""
    parts: list[Tensor] = []

    def note(module: nn.Module, args: object, output: object) -> None:
        parts.append(output.last_hidden_state[0])  # type: ignore[attr-defined]

    # Registered before the replay's own hook, which cuts positions off.
    handle = problem.replayer.decoder.register_forward_hook(note)
    try:
        with torch.no_grad():
            problem.logits(*problem.inputs)
    finally:
        handle.remove()
    states = torch.cat(parts).to(problem.input_ids.device)
    return states.to(torch.promote_types(states.dtype, torch.float32))


def without_interference(activation: Tensor, interference: Tensor) -> Tensor:
    """Return the positive part of activations ``[N]`` minus the interference ``[N]`` that fits them best."""
    power = (interference @ interference).clamp(min=torch.finfo(interference.dtype).tiny)
    scale = (activation @ interference / power).clamp(min=0)
    return (activation - scale * interference).clamp(min=0)


def rank_gaussian(values: Tensor, grid: Grid | None, window: int, sigma: float) -> Tensor:
    """Return values ``[N]`` filtered over their grid, or along their order; edges are repeated.

    Parameters
    ----------
    values : Tensor
        ``[N]``.
    grid : tuple of int, optional
        Rows and columns of the values; None: they have only an order.
    window : int
        Side of the window.
    sigma : float
        In ranks.
    """
    half = window // 2
    if grid is not None:
        padded = pad(values.reshape(1, 1, *grid), (half,) * 4, mode="replicate")
        patches = padded.unfold(2, window, 1).unfold(3, window, 1).reshape(len(values), -1)
    else:
        patches = pad(values.reshape(1, 1, -1), (half, half), mode="replicate")[0, 0].unfold(0, window, 1)
    ranks = torch.arange(patches.shape[1], dtype=values.dtype, device=values.device) - patches.shape[1] // 2
    weights = (-0.5 * (ranks / sigma) ** 2).exp().to(values)
    return patches.sort(-1).values @ (weights / weights.sum())
