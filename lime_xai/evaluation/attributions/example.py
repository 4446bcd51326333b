"""What attribution methods are compared on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lime_xai.model.prompt import PromptLike
from lime_xai.model.records import ShortRepr
from lime_xai.values.checking import check_fields


@dataclass(frozen=True, eq=False, repr=False)
class Example(ShortRepr):
    """One prompt, or a batch of prompts, to explain.

    Attributes
    ----------
    inputs : mapping or Prompt
        What a processor returns, ``B`` rows; or a prompt that was read before.
    target : TargetLike
        As in ``attribute``; None: the target given to ``compare_attributions``.
    truth : Tensor or None
        ``[T]`` or ``[B, T]`` bool over the prompt: the true region, among perceptual positions.
    cluster : str, int or None
        Examples of one cluster (pictures of one scene, questions about one sound) are drawn together by the bootstrap.
        None: every row is its own.
    """

    inputs: PromptLike
    target: Any = None  # a TargetLike, which resolve_target checks
    truth: Tensor | None = None
    cluster: str | int | None = None

    def __post_init__(self) -> None:
        check_fields(self)
