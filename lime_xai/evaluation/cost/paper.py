"""What the paper reports of its method's cost, and which policies are measured beside it."""

from __future__ import annotations

from dataclasses import dataclass

from lime_xai.decoding.policy import Policy
from lime_xai.evaluation.benchmarks.paper import PaperModel
from lime_xai.policies.contrast import Contrast
from lime_xai.policies.edit import Edit
from lime_xai.policies.reweight import Reweight

from .generations import PLAIN


@dataclass(frozen=True)
class PaperCost:
    """The paper's figures for one of its models, without and with its method.

    Attributes
    ----------
    plain_rate, rate : float
        Tokens per second.
    plain_memory, memory : float
        In GB.
    """

    plain_rate: float
    rate: float
    plain_memory: float
    memory: float

    @property
    def time_ratio(self) -> float:
        """Time of a token in plain ones."""
        return self.plain_rate / self.rate

    @property
    def memory_ratio(self) -> float:
        """Memory in that of the plain model."""
        return self.memory / self.plain_memory


COSTS = {
    "LLaVA-1.5-7B": PaperCost(3.02, 0.32, 26.2, 34.8),
    "Qwen2-Audio-7B": PaperCost(2.76, 0.30, 30.8, 33.8),
}
"""By model of the paper; figures as ``lime_xai.evaluation.benchmarks.paper.SOURCE`` says."""


@dataclass(frozen=True)
class CostRow:
    """One line of the table.

    Attributes
    ----------
    name : str
        What is run.
    policy : Policy or None
        None: the model alone.
    note : str
        What it is.
    sample : bool
        Whether tokens are drawn.
    of_paper : bool
        Whether the paper's figures stand beside it.
    """

    name: str
    policy: Policy | None
    note: str
    sample: bool = False
    of_paper: bool = False


def cost_rows(model: PaperModel | None) -> list[CostRow]:
    """Return what is measured, the plain model first; the paper's setting is that for a model, or for LLaVA-1.5-7B."""
    setting = Edit.paper() if model is None else model.policy()
    own = " (those for LLaVA-1.5-7B)" if model is None else ""
    note = (
        f"{setting.steps} steps, lambda {setting.objective.kl_weight:g}{own}; a delta for each head, where the paper "
        "shares one over the heads of a layer"
    )
    return [
        CostRow(PLAIN, None, "the model alone, greedy"),
        CostRow("plain, sampling", None, "the model alone, temperature 1, all tokens", sample=True),
        CostRow("paper's setting", setting, note, of_paper=True),
        CostRow("our default", Edit(), "relevance-guided edit, not of the paper"),
        CostRow("reweight", Reweight(), "relevance without optimisation, uncalibrated: a calibration costs nothing"),
        CostRow("contrast, no gradients", Contrast(), "relative of AAD: branch without image or sound"),
        CostRow("contrast, slot", Contrast("slot"), "branch over the same cache; no gradients"),
        CostRow("noise", Contrast("noise"), "relative of VCD: branch with noise on the features; no gradients"),
    ]
