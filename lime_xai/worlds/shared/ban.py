"""A ban on naming an object twice, since repetition flatters CHAIR."""

from collections.abc import Sequence
from typing import cast

import torch
from transformers import LogitsProcessor


class NoRepeatObjects(LogitsProcessor):  # type: ignore[misc,unused-ignore]
    """Forbid naming an object twice in the generated part of a sequence.

    Repeating what is safe lowers CHAIR for free; captions under this ban compare policies fairly. It keeps no
    state, so batches, beams and reordering are safe.

    Parameters
    ----------
    object_tokens : sequence of int
        Token ids that name objects; ``object_tokens(processor, language)`` gives those of a world.
    prompt_length : int
        Number of tokens before the generated part, ``inputs["input_ids"].shape[1]``.

    Raises
    ------
    ValueError
        If there are no object tokens or the length is negative.
    """

    def __init__(self, object_tokens: Sequence[int], prompt_length: int) -> None:
        if not object_tokens or min(object_tokens) < 0:
            raise ValueError(f"object_tokens is {list(object_tokens)}; expected the ids of the object names")
        if prompt_length < 0:
            raise ValueError(f"prompt_length is {prompt_length}; expected the number of tokens of the prompt")
        self._objects = torch.tensor(list(object_tokens))
        self._prompt_length = prompt_length

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Return the scores [B, V] with every object named after the prompt at minus infinity."""
        if input_ids.shape[1] < self._prompt_length:
            raise ValueError(
                f"the sequence has {input_ids.shape[1]} tokens, fewer than the prompt length "
                f"{self._prompt_length}; pass the length of the padded prompt"
            )
        objects = self._objects.to(scores.device)
        written = input_ids[:, self._prompt_length :]
        named = (written[:, :, None] == objects).any(1)
        banned = torch.zeros_like(scores, dtype=torch.bool)
        banned[:, objects] = named
        return cast(torch.FloatTensor, scores.masked_fill(banned, float("-inf")))
