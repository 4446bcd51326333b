"""Layer-wise relevance propagation rules for transformers, as Zennit hooks and composites.

Independent of ``lime_xai``; usable alone with Zennit: ``with AttnLRP().context(decoder): ...``.
"""

from .attention import AttentionCanonizer, AttentionRatios, AttentionRule
from .audit import Audit, AuditRow, audit_decoder
from .composites import CPLRP, LRP_METHODS, AttnLRP, GradientInput, TransformerComposite
from .encoders import EncoderLRP, audit_encoder
from .rules import (
    ActivationRule,
    BlockRule,
    GradientForm,
    NormRule,
    ProductRule,
    RatioHook,
    RelevanceForm,
    ScaleInputRule,
)
from .stream.adjoint import adjoint_gap
from .stream.cache import TangentCache, splitting_cache
from .stream.engine import Stream
from .structure import Role, roles

__all__ = [
    "CPLRP",
    "LRP_METHODS",
    "ActivationRule",
    "AttentionCanonizer",
    "AttentionRatios",
    "AttentionRule",
    "AttnLRP",
    "Audit",
    "AuditRow",
    "BlockRule",
    "EncoderLRP",
    "GradientForm",
    "GradientInput",
    "NormRule",
    "ProductRule",
    "RatioHook",
    "RelevanceForm",
    "Role",
    "ScaleInputRule",
    "Stream",
    "TangentCache",
    "TransformerComposite",
    "adjoint_gap",
    "audit_decoder",
    "audit_encoder",
    "roles",
    "splitting_cache",
]
