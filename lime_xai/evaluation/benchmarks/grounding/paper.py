"""What the paper's table 4 reports, and which policies are measured beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from lime_xai.decoding.policy import Policy
from lime_xai.evaluation.benchmarks.paper import Cell, PaperModel
from lime_xai.policies.contrast import Contrast
from lime_xai.policies.edit import Edit
from lime_xai.policies.observe import Observe

_UNDEFINED = "the source has no definition; grounding and reliance here are ours"

_FIGURES = {
    "LLaVA-1.5-7B": ((27, 36), (10, 17)),
    "Qwen-VL-Chat": ((13, 20), (41, 53)),
    "Qwen2.5-VL-7B": ((12, 21), (43, 52)),
    "SALMONN": ((19, 28), (10, 19)),
    "Qwen2-Audio-7B": ((31, 57), (34, 42)),
}
"""By model: spatial grounding and modality reliance, each without and with the paper's method, in percent."""

CELLS = tuple(
    Cell("T4", model, "grounding", "all", measure, row, float(value), _UNDEFINED)
    for model, pairs in _FIGURES.items()
    for measure, pair in zip(("grounding", "reliance"), pairs, strict=True)
    for row, value in zip(("regular", "LIME"), pair, strict=True)
)
"""Every cell of table 4; figures as ``lime_xai.evaluation.benchmarks.paper.SOURCE`` says."""


def grounding_cells(model: PaperModel | None) -> list[Cell]:
    """Return the cells of a model; none for a model that is not the paper's."""
    return [cell for cell in CELLS if model is not None and cell.model == model.name]


@dataclass(frozen=True)
class GroundingRow:
    """One line of the table.

    Attributes
    ----------
    name : str
        What is run.
    policy : Policy
        It answers, greedily.
    beside : str or None
        The paper's row that stands beside it; None: the paper has none.
    side : {"before", "after"}
        Which of the values of the steps the paper's cell stands beside.
    note : str
        What it is, and how it differs from the paper's row.
    """

    name: str
    policy: Policy
    beside: str | None
    side: Literal["before", "after"]
    note: str


def grounding_rows(model: PaperModel | None) -> list[GroundingRow]:
    """Return what is measured, the model alone first; the setting is that for a model, or for LLaVA-1.5-7B."""
    setting = Edit.paper() if model is None else model.policy()
    own = " (those for LLaVA-1.5-7B)" if model is None else ""
    steps = f"{setting.steps} steps of {setting.learning_rate:g}, lambda {setting.objective.kl_weight:g}{own}"
    full = "relevance of the largest logit, propagated through the whole sequence"
    return [
        GroundingRow(
            "vanilla, greedy",
            Observe(scope="sequence", target="argmax"),
            "regular",
            "before",
            f"the model alone; {full}",
        ),
        GroundingRow(
            "paper's setting",
            setting,
            "LIME",
            "after",
            f"{steps}; a delta for each head, where the paper shares one over the heads of a layer; {full}",
        ),
        GroundingRow(
            "our default",
            replace(Edit(), direction="backward"),
            None,
            "after",
            "relevance-guided edit, not of the paper; relevance of the expected logit that the last token reads "
            "directly from each cached slot: before and after are not comparable with the rows above",
        ),
        GroundingRow(
            "contrast, no gradients",
            Contrast(),
            None,
            "after",
            "branch without image or sound; it changes no keys and values, so that no step has relevance",
        ),
    ]
