"""Builders of tiny text models whose layers carry a state from token to token."""

from __future__ import annotations

import transformers as hf

from .family_grids import LINEAR
from .family_parts import EXPERTS, Parts, text


def jamba() -> Parts:
    decoder = text(
        "jamba",
        attn_layer_period=3,
        attn_layer_offset=1,
        expert_layer_period=5,
        expert_layer_offset=4,
        num_experts=2,
        mamba_d_state=8,
        mamba_dt_rank=4,
        use_mamba_kernels=False,
    )
    del decoder["model_type"], decoder["head_dim"]
    return hf.JambaForCausalLM(hf.JambaConfig(**decoder)), {}


def recurrent_gemma() -> Parts:
    decoder = text("recurrent_gemma", lru_width=32, attention_window_size=64)
    del decoder["model_type"]
    return hf.RecurrentGemmaForCausalLM(hf.RecurrentGemmaConfig(**decoder)), {}


def qwen3_next() -> Parts:
    decoder = text("qwen3_next", shared_expert_intermediate_size=16, **EXPERTS, **LINEAR)
    del decoder["model_type"]
    return hf.Qwen3NextForCausalLM(hf.Qwen3NextConfig(**decoder)), {}


def olmo_hybrid() -> Parts:
    decoder = text("olmo_hybrid", **LINEAR | {"linear_num_value_heads": 2})
    del decoder["model_type"], decoder["head_dim"]
    return hf.OlmoHybridForCausalLM(hf.OlmoHybridConfig(**decoder)), {}
