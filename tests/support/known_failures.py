"""Checks that fail today, and what has to be mended. A list that must shrink."""

from __future__ import annotations

from lime_xai.evaluation.conformance.suite import all_checks

EVERYTHING = frozenset(all_checks())
POLICIES = frozenset(name for name in EVERYTHING if name.startswith("policy "))
BATCHES = frozenset({"batch", "batch steered"})
ATTRIBUTION = frozenset({"attribute", "attnlrp", "answer", "batch"})

_FAILING: list[tuple[str, frozenset[str], str]] = [
    (
        "issue 14, item 9 (c12): attribute leaves position offsets behind (rope_deltas)",
        frozenset({"attribute"}),
        "qwen2_vl qwen2_5_vl qwen3_vl qwen3_vl_moe qwen3_5_moe qwen2_5_omni_thinker "
        "qwen2_5_omni_thinker_image qwen3_omni_thinker qwen2_5_vl_video qwen3_5 qwen4_exp cosmos3_omni "
        "cosmos3_edge cohere_compass ernie4_5_vl_moe glm4v glm46v glm4v_moe glm_ocr minicpmv4_7 paddleocr_vl",
    ),
    (
        "item 8 (c18): answers over linear attention",
        frozenset({"answer"}),
        "qwen3_5_moe qwen3_5 qwen4_exp minicpm_ocr minicpmv4_6 minicpmv4_7 qwen3_next olmo_hybrid",
    ),
    (
        "item 8 (c17): the blind branch of a padded batch is causal instead of prefix",
        frozenset({"batch steered"}),
        "paligemma",
    ),
    (
        "the probe for norms does not know a norm that takes a gate",
        frozenset(
            {"attribute", "attnlrp", "answer", "stream", "batch", "batch steered", "policy edit", "policy reweight"}
        ),
        "glm5_next",
    ),
    (
        "items 2 and 9: merge sizes, row newlines or grids in tokens are not known, so a good prompt is called wrong",
        EVERYTHING - BATCHES,
        "hunyuan_vl",
    ),
    (
        "items 2 and 9: merge sizes, row newlines or grids in tokens are not known, so a good prompt is called wrong",
        EVERYTHING,
        "hy_v4_vl kimi_k25 muse_glimmer muse_spark video_llama_3 inkling2 inkling2_loop",
    ),
    (
        "item 9: names of inputs that are not known (pixel_values_images, input_values, audio_input_ids)",
        EVERYTHING,
        "video_llava inkling_audio omniasr vibevoice_asr",
    ),
    (
        "listing operations without a rule ends the first attribution with an error of shapes",
        frozenset({"attribute"}),
        "mistral_large4 dots3_note",
    ),
    (
        "deep visual features of another name and structure are missed",
        frozenset(
            {
                "attribute",
                "stream",
                "batch steered",
                "policy uniform_gain",
                "policy edit",
                "policy observe",
                "policy reweight",
            }
        ),
        "granite4_vision",
    ),
    (
        "attribute explains another logit than the model gives: an argument of its attention is lost",
        frozenset({"attribute", "attnlrp", "answer"}),
        "inkling",
    ),
    (
        "the replay calls a model with token ids alone: an error by name is due",
        frozenset({"attribute", "attnlrp", "answer"}),
        "voxtral_realtime kosmos_2",
    ),
    (
        "the replay calls a model with token ids alone: an error by name is due",
        ATTRIBUTION,
        "git",
    ),
    (
        "the replay calls a model with token ids alone: an error by name is due",
        frozenset({"attribute"}),
        "idefics",
    ),
    (
        "item 8 (c19): a recurrent state is not carried, or stays behind in modules",
        frozenset({"answer"}),
        "jamba",
    ),
    (
        "item 8 (c19): a recurrent state is not carried, or stays behind in modules",
        frozenset({"attribute", "answer"}),
        "recurrent_gemma",
    ),
    (
        "item 5: the model calls the generate of its language model",
        ATTRIBUTION | POLICIES | {"stream"},
        "blip_2",
    ),
    (
        "item 5: the model calls the generate of its language model",
        ATTRIBUTION | POLICIES,
        "instructblip instructblipvideo",
    ),
]
"""What has to be mended (items and cases are those of issue 14), the features that fail by it, and the families."""

KNOWN: dict[tuple[str, str], str] = {
    (family, feature): cause
    for cause, features, families in _FAILING
    for family in families.split()
    for feature in features
}
"""Why a check fails, by family and feature."""
