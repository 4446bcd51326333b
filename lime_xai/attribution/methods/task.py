"""What an attribution method is given and returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from lime_xai.attribution.groups import Groups
from lime_xai.attribution.targets import Target
from lime_xai.model.pieces import token_labels
from lime_xai.model.prompt import Prompt
from lime_xai.model.recording import Recording
from lime_xai.model.records import ShortRepr
from lime_xai.values.checking import check_fields

GroupsLike = Groups | Sequence[Groups] | None
"""Groups for all rows, one for each row, or None for ``group_tokens``."""


@dataclass(frozen=True, eq=False, repr=False)
class AttributionTask(ShortRepr):
    """One call of ``attribute``.

    Attributes
    ----------
    prompt : Prompt
        ``B`` rows.
    target : Target
        What is explained; without ids: the token that the model would choose.
    per_token : bool
        Whether the tokens of an answer are explained one by one, or their sum.
    groups : Groups, sequence of Groups or None
        For methods that perturb groups.
    progress : bool
        Whether to show a bar.
    """

    prompt: Prompt
    target: Target
    per_token: bool = True
    groups: GroupsLike = None
    progress: bool = False

    @property
    def single(self) -> bool:
        """Whether there is one value per row: a single token, or the sum over an answer."""
        return not (self.target.answer and self.per_token)

    def labels(self, recording: Recording) -> list[list[str]] | None:
        """Return the tokens ``[B][T]`` of prompt and answer as the tokenizer writes them; None without a processor."""
        return token_labels(recording.positions.input_ids, self.prompt.processor)


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(ShortRepr):
    """What a method found.

    Attributes
    ----------
    relevance : Tensor
        ``[B, T]``, or ``[B, G, T]`` for the tokens of an answer one by one, float32.
    values : Tensor
        ``[B]`` or ``[B, G]`` float32: what was explained.
    target : Target
        With its ids.
    recording : Recording
        Of prompt and answer.
    convergence_delta : Tensor or None
        ``[B]`` or ``[B, G]``: as in ``Attribution``.
    """

    relevance: Tensor
    values: Tensor
    target: Target
    recording: Recording
    convergence_delta: Tensor | None = None


class AttributionMethod(Protocol):
    """An attribution method: a frozen dataclass whose fields are its settings.

    They are checked against their annotations, as those of ``lime_xai.Policy`` are.

    Attributes
    ----------
    name : str
        Key in ``METHODS``, and the ``method`` of what ``attribute`` returns.
    """

    @property
    def name(self) -> str:
        """The name of the method."""
        ...

    def __post_init__(self) -> None:
        check_fields(self)

    def explain(self, task: AttributionTask) -> Explanation:
        """Return relevance and explained values.

        It is called in ``torch.inference_mode(False)`` with frozen parameters, in the grad mode of the caller.
        """
        ...
