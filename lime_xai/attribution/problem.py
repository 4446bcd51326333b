"""One row of a prompt as a function of the decoder's inputs, for gradient and perturbation methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lime_xai.model.decoder_call import DecoderCall, merged
from lime_xai.model.gradients import DifferentiableCall, at_least_float32, forward_sequence
from lime_xai.model.layouts.layout import Layout
from lime_xai.model.modalities import Span, marker_ids, spans
from lime_xai.model.prompt import Prompt
from lime_xai.model.recording import Recording
from lime_xai.model.records import ShortRepr
from lime_xai.model.replay import Replayer

from .targets import Target, target_values


@dataclass(frozen=True, eq=False, repr=False)
class Problem(ShortRepr):
    """The explained logits of one row as a function of the decoder's input embeddings.

    Attributes
    ----------
    prompt : Prompt
        Whose row it is.
    row : int
        Number of the row.
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
    bos : Tensor
        ``[T]``, True on the beginning of the sequence.
    modalities : mapping of str to Tensor
        ``[T]`` per perceptual modality.
    """

    prompt: Prompt
    row: int
    calls: tuple[DecoderCall, ...]
    ids: Tensor
    against: Tensor | None
    input_ids: Tensor
    attended: Tensor
    bos: Tensor
    modalities: Mapping[str, Tensor]

    @property
    def replayer(self) -> Replayer:
        """Of the model; runs under the caller's grad mode."""
        return self.prompt.replayer

    @property
    def layouts(self) -> Sequence[Layout]:
        """Of every image, video and sound, in order."""
        return self.prompt.layouts[self.row]

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Embeddings ``[1, T, d]``, then deep visual features ``[1, N, d]`` where a family has them."""
        embeddings = torch.cat([call.embeddings for call in self.calls], 1)
        return embeddings, *(features[None] for features in self._deep)

    @property
    def visual(self) -> Tensor:
        """``[N]``: positions of the ``N`` deep visual features."""
        mask = self.calls[0].visual_mask
        return self.input_ids[:0] if mask is None or not self._deep else mask[0].nonzero()[:, 0]

    @property
    def _deep(self) -> tuple[Tensor, ...]:
        return self.calls[0].deep_features

    @property
    def perturbable(self) -> Tensor:
        """``[T]`` bool: positions that may be perturbed.

        All attended ones of the prompt but its beginning, which is an attention sink, markers of perceptual content
        and the last position, from which the answer is read. Tokens of the answer are not perturbed.
        """
        fixed = torch.tensor(sorted(marker_ids(self.replayer.model.config)), device=self.input_ids.device)
        found = self.attended & ~self.bos & ~torch.isin(self.input_ids, fixed)
        found[self.calls[0].length - 1 :] = False
        return found

    @property
    def spans(self) -> list[Span]:
        """Runs of consecutive positions of one modality, in order; padding belongs to none."""
        masks = {name: mask[None] for name, mask in self.modalities.items()}
        return spans(masks, self.attended[None])[0]

    def logits(self, *inputs: Tensor) -> Tensor:
        """Return the logits ``[R, G, V]``, in at least float32, of ``R`` rows of inputs like ``inputs``."""
        embeddings, *deep = inputs
        inputs_of_calls: list[DecoderCall] = []
        start = 0
        for index, call in enumerate(self.calls):
            part = embeddings[:, start : start + call.length]
            inputs_of_calls.append(call.with_embeddings(part, deep if index == 0 else ()))
            start += call.length
        return self.run(inputs_of_calls)

    def run(self, calls: Sequence[DecoderCall]) -> Tensor:
        """Return the logits ``[R, G, V]``, in at least float32, of calls of ``R`` rows in place of this row's."""
        inputs = [DifferentiableCall(call, call.embeddings) for call in calls]
        return at_least_float32(forward_sequence(self.replayer, inputs, keep=len(self.ids)))

    def of_targets(self, logits: Tensor) -> Tensor:
        """Return the explained values ``[R, G]`` of logits ``[R, G, V]``, or of contributions to them."""
        rows = logits.shape[0]
        against = None if self.against is None else self.against.expand(rows, -1)
        return target_values(logits, self.ids.expand(rows, -1), against)

    def values(self, *inputs: Tensor) -> Tensor:
        """Return the explained values ``[R, G]``: a logit, or a margin, per token; 0 where an answer has ended."""
        return self.of_targets(self.logits(*inputs))


def problems(prompt: Prompt, recording: Recording, goal: Target) -> Iterator[Problem]:
    """Return the problem of every row of a recorded batch.

    Parameters
    ----------
    prompt : Prompt
        ``B`` rows.
    recording : Recording
        Of the prompt and the answer.
    goal : Target
        With its ids.

    Raises
    ------
    ValueError
        If the goal has no token ids.
    """
    if goal.ids is None:
        raise ValueError("The target has no token ids.")
    calls, positions = merged(recording.calls), recording.positions
    for row, ids in enumerate(goal.ids):
        yield Problem(
            prompt=prompt,
            row=row,
            calls=tuple(call.row(row) for call in calls),
            ids=ids,
            against=None if goal.against is None else goal.against[row],
            input_ids=positions.input_ids[row],
            attended=positions.attended[row],
            bos=positions.bos[row],
            modalities={name: mask[row] for name, mask in positions.modalities.items()},
        )
