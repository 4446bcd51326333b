"""What attribution methods are compared on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lime_xai.attribution.targets import TargetLike
from lime_xai.model.prompt import PromptLike


@dataclass(frozen=True, eq=False)
class Example:
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
    target: TargetLike = None
    truth: Tensor | None = None
    cluster: str | int | None = None
