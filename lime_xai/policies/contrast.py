"""Contrast: decode against a branch of the model that perceives nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import Cache, DynamicCache

from lime_xai.cache import CACHE_NAME
from lime_xai.modalities import marker_ids
from lime_xai.names import check_plausibility, check_strength, unknown_name
from lime_xai.step import DecodingStep

BRANCHES = ("blind",)


@dataclass(frozen=True)
class Contrast:
    r"""Contrastive decoding: ``(1 + c) z - c z_blind``, kept to plausible tokens.

    ``blind``: the prompt without placeholders and their markers, positions rebuilt, in a cache of its own
    (visual contrastive decoding, Leng et al., CVPR 2024, with the image removed instead of noised).

    Parameters
    ----------
    branch : {"blind"}
        What the model is contrasted with.
    strength : float
        ``c``; 0 leaves generation untouched.
    plausibility : float
        Tokens with probability below this fraction of the largest are excluded; 0: none.

    Raises
    ------
    ValueError
        For an unknown branch, a negative strength or a plausibility outside [0, 1).
    """

    branch: Literal["blind"] = "blind"
    strength: float = 1.0
    plausibility: float = 0.1

    def __post_init__(self) -> None:
        if self.branch not in BRANCHES:
            raise unknown_name("branch", self.branch, BRANCHES)
        check_strength(self.strength)
        check_plausibility(self.plausibility)

    @property
    def idle(self) -> bool:
        """Whether the contrast has no weight."""
        return self.strength == 0

    @property
    def needs_history(self) -> bool:
        """The branch keeps its own cache instead."""
        return False

    def step(self, step: DecodingStep) -> Tensor:
        """Return the contrasted logits."""
        branch = step.state.get("blind")
        if branch is None:
            branch = step.state["blind"] = BlindBranch(step)
        blind = branch.advance(step).to(step.plain.dtype)
        logits = step.shifted(step.plain + self.strength * (step.plain - blind))
        return step.plausible(logits, self.plausibility)


class BlindBranch:
    """The same model without the perceptual part of the prompt, decoding beside it.

    Parameters
    ----------
    step : DecodingStep
        The first step; its ``input_ids`` are the whole prompt.
    """

    def __init__(self, step: DecodingStep) -> None:
        ids = step.input_ids
        markers = torch.tensor(sorted(marker_ids(step.replayer.model.config)), dtype=ids.dtype, device=ids.device)
        kept = step.attended & ~step.perceptual & ~torch.isin(ids, markers)
        length = int(kept.sum(-1).max())
        # A stable sort moves what is kept to the right, in order: left padding.
        order = kept.long().argsort(dim=-1, stable=True)[:, -length:]
        self.prompt = ids.gather(1, order)
        self.attended = kept.gather(1, order)
        self.cache: Cache = DynamicCache(config=step.replayer.config)

    def advance(self, step: DecodingStep) -> Tensor:
        """Feed the step's new tokens and return the blind logits ``[B, V]``."""
        ids = self.prompt if step.index == 0 else step.input_ids
        if step.index:
            self.attended = torch.cat([self.attended, torch.ones_like(ids, dtype=torch.bool)], 1)
        positions = (self.attended.long().cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        model, replayer = step.replayer.model, step.replayer
        with torch.no_grad(), replayer.alone(), _untouched(model):
            output = model(
                input_ids=ids,
                attention_mask=self.attended.long(),
                position_ids=positions,
                use_cache=True,
                **{CACHE_NAME: self.cache},
            )
        logits: Tensor = output.logits[:, -1]
        return logits

    def reorder(self, rows: Tensor) -> None:
        """Follow a beam search."""
        self.cache.reorder_cache(rows.long())  # type: ignore[arg-type]


class _untouched:  # noqa: N801 - a context manager
    """Keep a model's remembered position offsets (``rope_deltas``) over a call."""

    def __init__(self, model: Any) -> None:
        self.saved = [(m, m.rope_deltas) for m in model.modules() if "rope_deltas" in vars(m)]

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: object) -> None:
        for module, value in self.saved:
            module.rope_deltas = value
