"""One row of a prompt as a function of what its decoder reads: what gradient and perturbation methods ask."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .calls import DecoderCall, merged
from .leaves import CallLeaves
from .modalities import marker_ids
from .passes import forward_sequence, precise
from .recording import Recording
from .replay import Replayer
from .targets import Target, target_values


@dataclass(frozen=True, eq=False)
class Problem:
    """What one row's answer says, as a function of the embeddings that the decoder reads.

    Attributes
    ----------
    replayer : Replayer
        Of the model; runs under the caller's grad mode.
    calls : tuple of DecoderCall
        Of this row: the prompt, then the tokens after it.
    ids : Tensor
        ``[G]``: the tokens that are explained; -100 where an answer has ended.
    against : Tensor or None
        ``[1]``: the token whose logit is subtracted.
    input_ids : Tensor
        ``[T]``: prompt and all tokens of the answer but the last.
    attended : Tensor
        ``[T]``, False on padding.
    modalities : mapping of str to Tensor
        ``[T]`` per perceptual modality.
    """

    replayer: Replayer
    calls: tuple[DecoderCall, ...]
    ids: Tensor
    against: Tensor | None
    input_ids: Tensor
    attended: Tensor
    modalities: Mapping[str, Tensor]

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Embeddings ``[1, T, d]``, then deep visual features ``[1, N, d]`` where a family has them."""
        embeddings = torch.cat([call.embeddings for call in self.calls], 1)
        return embeddings, *(features[None] for features in self._deep)

    @property
    def visual(self) -> Tensor:
        """``[N]``: positions of the ``N`` deep visual features."""
        if not self._deep:
            return self.input_ids[:0]
        mask: Tensor = self.calls[0].kwargs["visual_pos_masks"]
        return mask[0].nonzero()[:, 0]

    @property
    def _deep(self) -> list[Tensor]:
        found = self.calls[0].kwargs.get("deepstack_visual_embeds")
        return found if isinstance(found, list) else []

    @property
    def players(self) -> Tensor:
        """``[T]``: positions that may be perturbed.

        All attended ones of the prompt but the beginning-of-sequence token, markers of perceptual content and the
        last position, from which the answer is read. Tokens of the answer stay.
        """
        config = self.replayer.model.config
        fixed = set(marker_ids(config))
        bos = getattr(config.get_text_config(), "bos_token_id", None)
        fixed |= {bos} if isinstance(bos, int) else set()
        found = self.attended & ~torch.isin(self.input_ids, torch.tensor(sorted(fixed), device=self.input_ids.device))
        found[self.calls[0].length - 1 :] = False
        return found

    def side(self, count: int) -> int | None:
        """Return the side of the square that an image's ``count`` tokens form; None where that is not known.

        Families whose grid follows the picture (``spatial_merge_size`` in the vision config) may have any grid of so
        many tokens, and several images in one run are told apart by nobody: give groups of your own there.
        """
        vision = getattr(self.replayer.model.config, "vision_config", None)
        side = math.isqrt(count)
        return side if side * side == count and getattr(vision, "spatial_merge_size", None) is None else None

    def logits(self, *inputs: Tensor) -> Tensor:
        """Return the logits ``[R, G, V]``, in at least float32, of ``R`` rows of inputs like ``inputs``."""
        embeddings, *deep = inputs
        leaves, start = [], 0
        for index, call in enumerate(self.calls):
            part = embeddings[:, start : start + call.length]
            leaves.append(CallLeaves(call.with_rows(part, deep if index == 0 else ()), part))
            start += call.length
        return precise(forward_sequence(self.replayer, leaves, keep=len(self.ids)))

    def of_targets(self, logits: Tensor) -> Tensor:
        """Return what logits ``[R, G, V]``, or parts of them, say of the explained tokens, ``[R, G]``."""
        rows = logits.shape[0]
        against = None if self.against is None else self.against.expand(rows, -1)
        return target_values(logits, self.ids.expand(rows, -1), against)

    def values(self, *inputs: Tensor) -> Tensor:
        """Return what is explained, ``[R, G]``: a logit, or a margin, per token; 0 where an answer has ended."""
        return self.of_targets(self.logits(*inputs))


def problems(
    replayer: Replayer, recording: Recording, goal: Target, modalities: Mapping[str, Tensor]
) -> Iterator[Problem]:
    """Return the problem of every row of a recorded batch.

    Parameters
    ----------
    replayer : Replayer
        Of the model.
    recording : Recording
        The prompt and the answer, ``B`` rows.
    goal : Target
        With its ids.
    modalities : mapping of str to Tensor
        ``[B, T]`` per perceptual modality.

    Raises
    ------
    ValueError
        If the goal has no token ids.
    """
    if goal.ids is None:
        raise ValueError("The target has no token ids.")
    calls = merged(recording.calls)
    for row, ids in enumerate(goal.ids):
        yield Problem(
            replayer=replayer,
            calls=tuple(call.row(row) for call in calls),
            ids=ids,
            against=None if goal.against is None else goal.against[row],
            input_ids=recording.input_ids[row],
            attended=recording.attended[row],
            modalities={name: mask[row] for name, mask in modalities.items()},
        )
