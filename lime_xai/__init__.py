"""Steer multimodal language models by relevance.

LIME (Learning Inference-time Modality Enhancement, arXiv 2605.01766) as an explainability toolkit; not Ribeiro
et al.'s LIME.
"""

from lime_rules import CPLRP, AttnLRP, GradientInput

from .attribution import attribute, audit
from .baselines import BASELINES
from .calibrating import calibrate
from .calibration import Calibration
from .comparison import Comparison, Example, compare_attributions
from .edit_settings import EditSettings
from .editor import KVEditor
from .groups import Groups
from .modalities import Span
from .objective import RelevanceObjective
from .policies import (
    POLICIES,
    Constant,
    Contrast,
    Edit,
    LogitShift,
    Observe,
    Plausible,
    Reweight,
    UniformGain,
    policy_from_dict,
    policy_to_dict,
)
from .result import Attribution
from .routes import Routes, routes
from .steering import SteeringOutput, steer, steered_generate, steering
from .trace import SteeringTrace, StepTrace

__version__ = "0.1.0"

__all__ = [
    "BASELINES",
    "CPLRP",
    "POLICIES",
    "AttnLRP",
    "Attribution",
    "Calibration",
    "Comparison",
    "Constant",
    "Contrast",
    "Edit",
    "EditSettings",
    "Example",
    "GradientInput",
    "Groups",
    "KVEditor",
    "LogitShift",
    "Observe",
    "Plausible",
    "RelevanceObjective",
    "Reweight",
    "Routes",
    "Span",
    "SteeringOutput",
    "SteeringTrace",
    "StepTrace",
    "UniformGain",
    "attribute",
    "audit",
    "calibrate",
    "compare_attributions",
    "policy_from_dict",
    "policy_to_dict",
    "routes",
    "steer",
    "steered_generate",
    "steering",
]
