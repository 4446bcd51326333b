"""Tiny random multimodal models, one per family of decoder, with inputs that need no processor.

``FAMILIES[name].build()`` gives a model, inputs for ``model(**inputs)`` and ``model.generate(**inputs)``, and
the placeholder ids by modality. ``batch(name, rows)`` gives prompts of different length, padded on the left.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from transformers import PreTrainedModel

from . import family_audio as audio
from . import family_vision as vision
from .family_parts import IMAGE

PER_TOKEN = ("input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids")
MARKERS = {"image": (95, 96), "video": (95, 96), "audio": (93, 94), "text": (10, 11)}
TOKEN_TYPES = {"image": 1, "video": 2, "audio": 3, "text": 0}
PATCH_PLACES = 2
"""Columns of ``flattened_patches`` that say where a patch lies."""


@dataclass(frozen=True)
class Family:
    """One kind of model.

    Attributes
    ----------
    name : str
        Key in ``FAMILIES`` or ``FURTHER``.
    make : callable
        Returns the model and the perceptual inputs of one prompt.
    modality : str
        ``image``, ``video``, ``audio`` or ``text``.
    tokens : int
        Placeholders that the perceptual inputs fill.
    attributable : bool
        False where the decoder merges modalities itself or attends to them by cross-attention.
    covered : bool
        Whether every module of the decoder has a rule.
    """

    name: str
    make: Callable[[], tuple[PreTrainedModel, dict[str, Tensor]]]
    modality: str
    tokens: int
    attributable: bool = True
    covered: bool = True

    def build(self, seed: int = 0) -> tuple[PreTrainedModel, dict[str, Tensor], dict[str, int]]:
        """Return the model, inputs of one prompt and the placeholder ids by modality.

        The model is the caller's own: a copy, which takes half the time of making one.
        """
        torch.manual_seed(seed)
        model = copy.deepcopy(_made(self, seed, torch.get_default_dtype()))
        return model, self.inputs(model), placeholder_ids(model)

    def inputs(self, model: PreTrainedModel, row: int = 0, tail: Sequence[int] = ()) -> dict[str, Tensor]:
        """Return the inputs of prompt number ``row``: its own noise to perceive, ``tail`` after the text."""
        features = _features(self, torch.get_default_dtype())
        generator = torch.Generator().manual_seed(3 + row)
        found = {name: _noise(name, value, row, generator) for name, value in features.items()}
        start, end = MARKERS[self.modality] if self.attributable else (5, 5)
        placeholder = placeholder_ids(model).get(self.modality, 40 if self.modality == "text" else IMAGE)
        ids = torch.tensor([[1, 5, 6, start, *[placeholder] * self.tokens, end, 7, 8, 9, *tail]])
        found |= {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        accepted = inspect.signature(type(model).forward).parameters
        for name in ("mm_token_type_ids", "token_type_ids"):
            if name in accepted:
                found[name] = torch.where(ids == placeholder, TOKEN_TYPES[self.modality], 0)
                break
        return found


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("llava", vision.llava, "image", 4),
        Family("llava_mistral_sliding", vision.llava_mistral_sliding, "image", 4),
        Family("llava_next", vision.llava_next, "image", 10),
        Family("llava_onevision", vision.llava_onevision, "image", 10),
        Family("llava_pixtral", vision.llava_pixtral, "image", 4),
        Family("qwen2_vl", vision.qwen2_vl, "image", 4),
        Family("qwen2_5_vl", vision.qwen2_5_vl, "image", 4),
        Family("qwen3_vl", vision.qwen3_vl, "image", 4),
        Family("qwen3_vl_moe", vision.qwen3_vl_moe, "image", 4),
        Family("qwen3_5_moe", vision.qwen3_5_moe, "image", 4, covered=False),
        Family("gemma3", vision.gemma3, "image", 4),
        Family("gemma4", vision.gemma4, "image", 4),
        Family("paligemma", vision.paligemma, "image", 4),
        Family("internvl", vision.internvl, "image", 4),
        Family("idefics3", vision.idefics3, "image", 4),
        Family("smolvlm", vision.smolvlm, "image", 4),
        Family("mistral3", vision.mistral3, "image", 4),
        Family("aya_vision", vision.aya_vision, "image", 4),
        Family("mllama", vision.mllama, "image", 1, attributable=False, covered=False),
        Family("qwen2_audio", audio.qwen2_audio, "audio", 10),
        Family("voxtral", audio.voxtral, "audio", 5),
        Family("qwen2_5_omni_thinker", audio.qwen2_5_omni_thinker, "audio", 10),
        Family("qwen2_5_omni_thinker_image", audio.qwen2_5_omni_thinker_image, "image", 4),
        Family("qwen3_omni_thinker", audio.qwen3_omni_thinker, "image", 4),
        Family("qwen3_asr", audio.qwen3_asr, "audio", 13),
        Family("phi4_multimodal_audio", audio.phi4_multimodal_audio, "audio", 4, False, False),
        Family("phi4_multimodal_image", audio.phi4_multimodal_image, "image", 5, False, False),
    )
}


@cache
def _made(family: Family, seed: int, dtype: torch.dtype) -> PreTrainedModel:
    """Return a family's model with random weights, which is copied and never run; ``dtype`` is the default one."""
    torch.manual_seed(seed)
    model, _ = family.make()
    model.eval().requires_grad_(False)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.normal_(0, 0.15)  # unit scale, so that logits differ between tokens
    return model


@cache
def _features(family: Family, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return what a prompt of a family perceives, zeros where it is noise in a prompt."""
    _, features = family.make()
    return features


def _noise(name: str, value: Tensor, row: int, generator: torch.Generator) -> Tensor:
    """Return what one row perceives in place of zeros; sizes, grids and masks stay."""
    if name == "audio_input_ids":
        return value.roll(row, -1)
    if not value.is_floating_point():
        return value.clone()
    noise = torch.randn(value.shape, generator=generator)
    if name == "flattened_patches":
        noise[..., :PATCH_PLACES] = value[..., :PATCH_PLACES]
    return noise


def placeholder_ids(model: PreTrainedModel) -> dict[str, int]:
    """Return the placeholder token of each modality, from the config or one of its parts."""
    top = model.config
    parts = [getattr(top, name, None) for name in top.sub_configs]
    found = {}
    for modality in ("image", "video", "audio"):
        for config in (top, *parts):
            for suffix in ("token_id", "token_index"):
                value = getattr(config, f"{modality}_{suffix}", None)
                if isinstance(value, int):
                    found.setdefault(modality, value)
    return found


def batch(name: str, rows: int, seed: int = 0) -> tuple[PreTrainedModel, dict[str, Tensor], list[dict[str, Tensor]]]:
    """Build a family and prompts of different length, each with something else to see or hear.

    Returns
    -------
    model : PreTrainedModel
    inputs : dict of str to Tensor
        All rows, padded on the left.
    singles : list of dict of str to Tensor
        Each row alone, without padding.
    """
    family = FAMILIES[name]
    model, _, _ = family.build(seed)
    joined, singles = joined_rows(family, model, rows)
    return model, joined, singles


def joined_rows(family: Family, model: PreTrainedModel, rows: int) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """Return prompts of different length as one batch padded on the left, and each alone."""
    singles = [family.inputs(model, row, tail=range(10, 10 + 2 * row)) for row in range(rows)]
    length = max(single["input_ids"].shape[1] for single in singles)
    joined = {}
    for key in singles[0]:
        parts = [single[key] for single in singles]
        if key == "image_token_pooling":  # counts the patches of all rows
            parts = [part + row * singles[0]["pixel_values"].shape[1] for row, part in enumerate(parts)]
        if key in PER_TOKEN:
            parts = [torch.nn.functional.pad(part, (length - part.shape[1], 0)) for part in parts]
        joined[key] = torch.cat(parts)
    return joined, singles
