"""Every family that transformers can build tiny: those of ``FAMILIES``, which all tests use, and the others."""

from __future__ import annotations

import inspect
from types import ModuleType

from . import (
    family_apart,
    family_codes,
    family_documents,
    family_grids,
    family_patches,
    family_pictures,
    family_recurrent,
    family_speech,
    family_tiles,
)
from .families import FAMILIES, Family
from .family_parts import Parts

PERCEIVED = (4, 8)
"""Positions that count as perceived in a prompt of text alone."""


def _builders(module: ModuleType) -> list[str]:
    """Return the names of a module's builders, in order."""
    return [
        name
        for name, found in vars(module).items()
        if inspect.isfunction(found)
        and found.__module__ == module.__name__
        and not name.startswith("_")
        and not inspect.signature(found).parameters
        and inspect.signature(found, eval_str=True).return_annotation == Parts
    ]


def _families(module: ModuleType, modality: str, count: int) -> list[Family]:
    """Return the families of a module; ``TOKENS`` names what differs from the usual modality and count."""
    special = getattr(module, "TOKENS", {})
    return [Family(name, getattr(module, name), *special.get(name, (modality, count))) for name in _builders(module)]


FURTHER: dict[str, Family] = {
    family.name: family
    for module, modality, count in (
        (family_grids, "image", 4),
        (family_patches, "image", 4),
        (family_pictures, "image", 4),
        (family_tiles, "image", 4),
        (family_documents, "image", 4),
        (family_codes, "image", 4),
        (family_speech, "audio", 5),
        (family_recurrent, "text", 4),
        (family_apart, "image", 4),
    )
    for family in _families(module, modality, count)
}
"""Families that only the suite of conformance builds."""

EVERY_FAMILY: dict[str, Family] = {**FAMILIES, **FURTHER}

_SPEECH_OUT = "it generates speech, not text"
_ENCODER_DECODER = "it is an encoder-decoder; `whisper`, `t5gemma2` and `vision_encoder_decoder` stand for its kind"

NOT_BUILT: dict[str, str] = {
    **dict.fromkeys(
        (
            "CanaryForConditionalGeneration",
            "CohereAsrForConditionalGeneration",
            "DiaForConditionalGeneration",
            "Florence2ForConditionalGeneration",
            "MoonshineForConditionalGeneration",
            "MoonshineStreamingForConditionalGeneration",
            "PPFormulaNetForConditionalGeneration",
            "Pix2StructForConditionalGeneration",
            "Pop2PianoForConditionalGeneration",
            "SeamlessM4TForSpeechToText",
            "SeamlessM4Tv2ForSpeechToText",
            "Speech2TextForConditionalGeneration",
            "SpeechEncoderDecoderModel",
            "SpeechT5ForSpeechToText",
            "UdopForConditionalGeneration",
        ),
        _ENCODER_DECODER,
    ),
    **dict.fromkeys(
        (
            "BarkModel",
            "CsmForConditionalGeneration",
            "FastSpeech2ConformerWithHifiGan",
            "GradiumPhononTTSForConditionalGeneration",
            "HiggsAudioV2ForConditionalGeneration",
            "MusicgenForConditionalGeneration",
            "MusicgenMelodyForConditionalGeneration",
            "PocketTTSForConditionalGeneration",
            "SeamlessM4TForTextToSpeech",
            "SeamlessM4Tv2ForTextToSpeech",
            "VibeVoiceForConditionalGeneration",
            "VitsModel",
        ),
        _SPEECH_OUT,
    ),
    "DiffusionGemmaForBlockDiffusion": "it writes blocks of tokens by diffusion, not one token after the other",
    "EvollaForProteinText2Text": "it reads proteins, by cross-attention",
    "KyutaiSpeechToTextForConditionalGeneration": "its tokens have a channel per audio codebook, not one id",
    "Mistral4ForCausalLM": "it reads text alone",
    "PI0ForConditionalGeneration": "it generates actions, not text",
    "Qwen2_5OmniForConditionalGeneration": "it adds speech to the thinker, `qwen2_5_omni_thinker`, which is built",
    "Qwen3OmniMoeForConditionalGeneration": "it adds speech to the thinker, `qwen3_omni_thinker`, which is built",
}
"""Classes for images or sounds that transformers lists and no family here builds, and why."""
