"""Steer multimodal language models by relevance.

LIME (Learning Inference-time Modality Enhancement, arXiv 2605.01766) as an explainability toolkit; not Ribeiro
et al.'s LIME.
"""

from lime_rules import CPLRP, AttnLRP, GradientInput

from .editor import EditSettings, KVEditor
from .objective import RelevanceObjective
from .policies import POLICIES, Contrast, Edit, LogitShift, UniformGain, policy_from_dict, policy_to_dict
from .steering import SteeringOutput, steer, steered_generate, steering
from .trace import SteeringTrace, StepTrace

__version__ = "0.1.0"
