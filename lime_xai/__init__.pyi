from .attribution.attribute import attribute, audit
from .attribution.groups import Groups
from .attribution.methods.lrp import CPLRP, AttnLRP, GradientInput
from .attribution.methods.registry import METHODS, register_method
from .attribution.methods.task import AttributionMethod
from .attribution.pixels.attribute import EncoderLRP, attribute_pixels
from .attribution.pixels.result import PixelAttribution
from .attribution.result import Attribution
from .branches.branch import BranchKind
from .decoding.policy import ContributionNeed, Needs, Policy, StreamNeed
from .decoding.step import DecodingStep
from .decoding.trace import SteeringTrace, StepTrace
from .editing.editor import KVEditor
from .editing.objective import RelevanceObjective
from .editing.settings import EditSettings
from .evaluation.attributions.compare import compare_attributions
from .evaluation.attributions.comparison import Comparison
from .evaluation.attributions.deletions import DeletionCurves, deletion_curves
from .evaluation.attributions.example import Example
from .evaluation.cost.memory import estimate_memory
from .generation.calibrate import calibrate
from .generation.steer import SteeringOutput, steer, steered_generate, steering
from .model.layouts.reading import register_layout
from .model.modalities import Span
from .model.prompt import Prompt, read_prompt
from .model.sounds import check_heard, read_sound, split_sound
from .policies.calibration import Calibration
from .policies.constant import Constant
from .policies.contrast import Contrast
from .policies.controls import LogitShift, Plausible, UniformGain
from .policies.edit import Edit
from .policies.observe import Observe
from .policies.registry import POLICIES, policy_from_dict, policy_to_dict, register_policy
from .policies.reweight import Reweight
from .report.answer import ExplainedAnswer, ExplainedWord
from .report.explain import explain
from .stream.routes import Routes, routes

__version__: str

__all__ = [
    "CPLRP",
    "METHODS",
    "POLICIES",
    "AttnLRP",
    "Attribution",
    "AttributionMethod",
    "BranchKind",
    "Calibration",
    "Comparison",
    "Constant",
    "Contrast",
    "ContributionNeed",
    "DecodingStep",
    "DeletionCurves",
    "Edit",
    "EditSettings",
    "EncoderLRP",
    "Example",
    "ExplainedAnswer",
    "ExplainedWord",
    "GradientInput",
    "Groups",
    "KVEditor",
    "LogitShift",
    "Needs",
    "Observe",
    "PixelAttribution",
    "Plausible",
    "Policy",
    "Prompt",
    "RelevanceObjective",
    "Reweight",
    "Routes",
    "Span",
    "SteeringOutput",
    "SteeringTrace",
    "StepTrace",
    "StreamNeed",
    "UniformGain",
    "attribute",
    "attribute_pixels",
    "audit",
    "calibrate",
    "check_heard",
    "compare_attributions",
    "deletion_curves",
    "estimate_memory",
    "explain",
    "policy_from_dict",
    "policy_to_dict",
    "read_prompt",
    "read_sound",
    "register_layout",
    "register_method",
    "register_policy",
    "routes",
    "split_sound",
    "steer",
    "steered_generate",
    "steering",
]
