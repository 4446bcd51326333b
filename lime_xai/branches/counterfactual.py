"""Other pictures or sounds for the same text: what the counterfactual branch of a contrast perceives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lime_xai.model.decoder_call import DecoderCall
from lime_xai.model.modalities import Modalities
from lime_xai.model.positions import Positions
from lime_xai.model.prompt import Prompt


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """A recorded prompt with other pictures or sounds.

    Attributes
    ----------
    call : DecoderCall
        What the decoder is given, ``B`` rows of ``T`` positions.
    positions : Positions
        ``[B, T]``.
    """

    call: DecoderCall
    positions: Positions

    @classmethod
    def read(cls, prompt: Prompt) -> Counterfactual:
        """Return a prompt as a counterfactual; its pictures and sounds are encoded now."""
        return cls(prompt.recording().calls[0], prompt.positions)

    def check(self, positions: Positions, modalities: Modalities = None) -> None:
        """Refuse a counterfactual that differs from the prompt in more than its pictures or sounds.

        As ``check_same_text`` does.
        """
        check_same_text(self.positions, positions, modalities)

    def in_place_of(self, prompt: DecoderCall, group: Tensor | None = None) -> DecoderCall:
        """Return the prompt's call with these embeddings and deep visual features, rows repeated as there.

        Parameters
        ----------
        prompt : DecoderCall
            ``k B`` rows.
        group : Tensor, optional
            ``[k B, T]`` bool: positions that are exchanged; all others stay the prompt's. None: all are exchanged.
        """
        other = self._repeated(prompt)
        if group is None:
            return other
        here = group.to(prompt.embeddings.device)
        embeddings = torch.where(here[..., None], other.embeddings, prompt.embeddings)
        visual = prompt.visual_mask
        if visual is None:
            return prompt.with_inputs(embeddings, ())
        chosen = group.to(visual.device)[visual][:, None]
        pairs = zip(other.deep_features, prompt.deep_features, strict=True)
        return prompt.with_inputs(embeddings, [torch.where(chosen.to(a.device), a, b) for a, b in pairs])

    def _repeated(self, prompt: DecoderCall) -> DecoderCall:
        repeats = prompt.embeddings.shape[0] // self.call.embeddings.shape[0]
        embeddings = self.call.embeddings.repeat_interleave(repeats, 0)
        if not self.call.deep_features or repeats == 1:
            return prompt.with_inputs(embeddings, self.call.deep_features)
        rows = [self.call.row(index).deep_features for index in range(self.call.embeddings.shape[0])]
        deep = [torch.cat([_times(features, repeats) for features in layer]) for layer in zip(*rows, strict=True)]
        return prompt.with_inputs(embeddings, deep)


def check_same_text(own: Positions, positions: Positions, modalities: Modalities = None) -> None:
    """Refuse a counterfactual that differs from the prompt in more than its pictures or sounds.

    Parameters
    ----------
    own : Positions
        ``[B, T]``: of the counterfactual.
    positions : Positions
        ``[k B, T]``: of the prompt, ``k`` rows per row of the counterfactual for beams and several answers.
    modalities : tuple of str, optional
        What may differ; None: all that is perceived.

    Raises
    ------
    ValueError
        If rows, length, attended positions, or ids of the text differ.
    """
    rows, length = positions.input_ids.shape
    if length != own.length or rows % len(own.input_ids):
        raise ValueError(
            f"The counterfactual has {len(own.input_ids)} rows of {own.length} positions, the prompt {rows} of "
            f"{length}; give pictures or sounds of the same size, and as many."
        )
    repeated = own.repeated(rows)
    device = positions.input_ids.device
    text = positions.attended & ~positions.group(modalities)
    same = (repeated.input_ids.to(device) == positions.input_ids) | ~text
    attended = repeated.attended.to(device) == positions.attended
    if not bool((same & attended).all()):
        row, position = (~(same & attended)).nonzero()[0].tolist()
        raise ValueError(
            f"The text of the counterfactual differs from that of the prompt (row {row}, position {position}); "
            "only pictures and sounds may differ."
        )


def _times(features: Tensor, repeats: int) -> Tensor:
    """Return features ``[N, d]`` of one row for as many rows, ``[repeats * N, d]``."""
    return features.repeat(repeats, 1)
