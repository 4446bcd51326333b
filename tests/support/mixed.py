"""Tiny random models that see and hear, and prompts with an image and a sound: ``MIXED[name].build()``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import transformers as hf
from torch import Tensor
from transformers import PreTrainedModel

from . import family_audio as audio
from . import family_tiles as tiles
from .families import MARKERS, PER_TOKEN, TOKEN_TYPES, _noise, placeholder_ids
from .family_parts import AUDIO, IMAGE, SMALL, VIDEO, VOCABULARY, Parts, qwen_patches, text

START = (1, 5, 6)
BETWEEN = (7,)
END = (8, 9)
"""Text before the image, between image and sound, and after the sound."""


@dataclass(frozen=True)
class Mixed:
    """A family that takes an image and a sound in one prompt.

    Attributes
    ----------
    name : str
        Key in ``MIXED``.
    make : callable
        Returns the model and the inputs of both towers.
    image, audio : int
        Placeholders of the image and of the sound.
    visual, heard : tuple of str
        Names of the inputs of each.
    streamed : bool
        Whether the decoder has a relevance stream.
    laid_out : tuple of str
        Modalities whose layout is known.
    """

    name: str
    make: Callable[..., Parts]
    image: int
    audio: int
    visual: tuple[str, ...]
    heard: tuple[str, ...]
    streamed: bool = True
    laid_out: tuple[str, ...] = ("image", "audio")

    @property
    def places(self) -> dict[str, tuple[int, int]]:
        """Start and stop of each modality's positions in a prompt without padding."""
        image = len(START) + 1
        sound = image + self.image + 1 + len(BETWEEN) + 1
        return {"image": (image, image + self.image), "audio": (sound, sound + self.audio)}

    def build(self, seed: int = 0, **settings: int) -> tuple[PreTrainedModel, dict[str, Tensor], dict[str, int]]:
        """Return the model, inputs of one prompt and the placeholder ids by modality; ``settings`` go to ``make``."""
        torch.manual_seed(seed)
        model, features = self.make(**settings)
        model.eval().requires_grad_(False)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() >= 2:
                    parameter.normal_(0, 0.15)
        return model, self.inputs(features), placeholder_ids(model)

    def inputs(self, features: dict[str, Tensor], row: int = 0, tail: Sequence[int] = ()) -> dict[str, Tensor]:
        """Return the inputs of prompt number ``row``: its own picture and sound, ``tail`` after the text."""
        generator = torch.Generator().manual_seed(3 + row)
        found = {name: _noise(name, value, row, generator) for name, value in features.items()}
        parts = [(IMAGE, self.image, "image"), (AUDIO, self.audio, "audio")]
        (image, sound) = ([MARKERS[kind][0], *[token] * count, MARKERS[kind][1]] for token, count, kind in parts)
        ids = torch.tensor([[*START, *image, *BETWEEN, *sound, *END, *tail]])
        found |= {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if "mm_token_type_ids" in self.visual:
            found["mm_token_type_ids"] = types_of(ids)
        return found

    def without(self, inputs: dict[str, Tensor], modality: str) -> dict[str, Tensor]:
        """Return inputs of the prompt as it were without one modality and its markers; one row, no padding."""
        ids = inputs["input_ids"]
        gone = {"image": (IMAGE, *MARKERS["image"]), "audio": (AUDIO, *MARKERS["audio"])}[modality]
        names = {"image": self.visual, "audio": self.heard}[modality]
        kept = ~torch.isin(ids, torch.tensor(gone))
        found = {name: value for name, value in inputs.items() if name not in names or name in PER_TOKEN}
        return {name: value[kept][None] if name in PER_TOKEN else value for name, value in found.items()}

    def batch(self, rows: int, seed: int = 0) -> tuple[PreTrainedModel, dict[str, Tensor], list[dict[str, Tensor]]]:
        """Return a model, prompts of different length padded on the left, and each alone."""
        model, _, _ = self.build(seed)
        _, features = self.make()
        singles = [self.inputs(features, row, tail=range(10, 10 + 2 * row)) for row in range(rows)]
        length = max(single["input_ids"].shape[1] for single in singles)
        joined = {}
        for key in singles[0]:
            parts = [single[key] for single in singles]
            if key in PER_TOKEN:
                parts = [torch.nn.functional.pad(part, (length - part.shape[1], 0)) for part in parts]
            joined[key] = torch.cat(parts)
        return model, joined, singles


def types_of(ids: Tensor) -> Tensor:
    """Return transformers' token types of a prompt."""
    sound = torch.where(ids == AUDIO, TOKEN_TYPES["audio"], 0)
    return torch.where(ids == IMAGE, TOKEN_TYPES["image"], sound)


def _both(first: Callable[[], Parts], second: Callable[[], Parts]) -> Callable[[], Parts]:
    def make() -> Parts:
        model, features = first()
        return model, features | second()[1]

    return make


def _qwen2_5_omni() -> Parts:
    model, features = audio.qwen2_5_omni_thinker()
    return model, qwen_patches() | features


def _qwen3_omni() -> Parts:
    model, features = audio.qwen3_omni_thinker()
    model.config.audio_config.update({"n_window": 50, "n_window_infer": 400, "max_source_positions": 200})
    return type(model)(model.config), features | audio.qwen2_5_omni_thinker()[1]


def _gemma4() -> Parts:
    decoder = text(
        "gemma4_text",
        sliding_window=64,
        num_hidden_layers=4,
        layer_types=["sliding_attention", "full_attention"] * 2,
        hidden_size_per_layer_input=8,
        vocab_size_per_layer_input=VOCABULARY,
        num_kv_shared_layers=2,
    )
    seeing = {"model_type": "gemma4_vision", "num_key_value_heads": 4, "head_dim": 8, **SMALL}
    hearing = {
        "model_type": "gemma4_audio",
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "subsampling_conv_channels": [16, 4],
        "attention_chunk_size": 4,
        "attention_context_left": 5,
        "output_proj_dims": 32,
        "use_clipped_linears": False,
    }
    config = hf.Gemma4Config(
        text_config=decoder,
        vision_config=seeing | {"patch_size": 4, "pooling_kernel_size": 2},
        audio_config=hearing,
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        audio_token_id=AUDIO,
        boi_token_id=95,
        eoi_token_id=96,
        boa_token_id=93,
        eoa_token_index=94,
    )
    places = torch.cartesian_prod(torch.arange(4), torch.arange(4)).flip(1)[None]
    features = {"pixel_values": torch.zeros(1, 16, 48), "image_position_ids": places}
    features |= {"input_features": torch.zeros(1, 16, 16), "input_features_mask": torch.ones(1, 16, dtype=torch.bool)}
    return hf.Gemma4ForConditionalGeneration(config), features


def _gemma4_unified(window: int = 64) -> Parts:
    config = tiles.gemma4_unified()[0].config
    config.text_config.sliding_window = window
    hearing = {"model_type": "gemma4_unified_audio", "audio_embed_dim": 8}
    marks = {"boa_token_id": 93, "eoa_token_index": 94}
    config = hf.Gemma4UnifiedConfig(**config.to_dict() | {"audio_config": hearing} | marks)
    features = tiles.gemma4_unified()[1] | {"input_features": torch.zeros(1, 4, 8)}
    return hf.Gemma4UnifiedForConditionalGeneration(config), features | {
        "input_features_mask": torch.ones(1, 4, dtype=torch.bool)
    }


QWEN_IMAGE = ("pixel_values", "image_grid_thw")
HEARD = ("input_features", "feature_attention_mask")

MIXED: dict[str, Mixed] = {
    family.name: family
    for family in (
        Mixed("qwen2_5_omni_thinker", _qwen2_5_omni, 4, 10, QWEN_IMAGE, HEARD),
        Mixed("qwen3_omni_thinker", _qwen3_omni, 4, 5, QWEN_IMAGE, HEARD),
        Mixed("gemma3n", _both(tiles.gemma3n, tiles.gemma3n_audio), 4, 4, ("pixel_values",),
              ("input_features", "input_features_mask"), streamed=False, laid_out=()),
        Mixed("gemma4", _gemma4, 4, 4, ("pixel_values", "image_position_ids", "mm_token_type_ids"),
              ("input_features", "input_features_mask"), streamed=False, laid_out=("image",)),
        Mixed("gemma4_unified", _gemma4_unified, 4, 4, ("pixel_values", "image_position_ids", "mm_token_type_ids"),
              ("input_features", "input_features_mask"), laid_out=()),
    )
}  # fmt: skip
