"""Tiny models with their families' own processors, and pictures to show them: an oracle of where tokens lie.

``CASES[name].build()`` gives a model whose towers look at each patch alone, and the processor. Nothing is downloaded:
tokenizers are word lists. ``changed_positions`` says which embeddings a dot in a picture changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers as hf
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn

from lime_xai.model.replay import Replayer

from .family_parts import MROPE, QWEN3_VISION, SMALL, clip, pixtral, qwen2_5_vision, siglip, text
from .recordings import recorded
from .versions import built

WORDS = ("<pad>", "<s>", "</s>", "<unk>", "see", "what", "is", "that", "it", "and", "image")
CROP_WORDS = ("Here", "the", "original", "here", "are", "some", "crops", "to", "help", "you", "better")
OUTPUTS = ("out_proj", "o_proj", "proj", "projection_layer", "to_out", "dense")
"""Last linear layers of attention modules."""


def tokenizer(*special: str, **named: str) -> Any:
    """Return a word-level tokenizer with special tokens; ``named`` ones are attributes too."""
    tokens = [*WORDS, *CROP_WORDS, *dict.fromkeys([*special, *named.values()])]
    words = Tokenizer(models.WordLevel({word: n for n, word in enumerate(tokens)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    marks = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    found = hf.PreTrainedTokenizerFast(tokenizer_object=words, padding_side="left", extra_special_tokens=named, **marks)
    found.add_tokens([token for token in special if token not in named.values()], special_tokens=True)
    return found


def localise(model: nn.Module) -> None:
    """Switch off attention in the towers: every patch is then encoded alone."""
    decoder = model.get_decoder()
    inside = set(decoder.modules())
    for name, module in model.named_modules():
        if module in inside or not type(module).__name__.endswith("Attention"):
            continue
        outputs = [child for part, child in module.named_modules() if part.split(".")[-1] in OUTPUTS]
        assert outputs, f"{name} has no known output projection"
        for linear in outputs:
            for parameter in linear.parameters():
                parameter.data.zero_()


@dataclass(frozen=True)
class Case:
    """A family with its processor.

    Attributes
    ----------
    make : callable
        Returns the model and the processor.
    sizes : tuple
        Width and height of the pictures of each row of the batch.
    placeholder : str
        What the text holds for a picture.
    options : dict
        For the processor.
    placed : bool
        Whether every tile's place is known.
    nested : bool
        Whether the processor takes a list of pictures per row.
    unused : tuple of str
        What the processor returns and the model does not take.
    """

    make: Callable[[], tuple[Any, Any]]
    sizes: tuple[tuple[tuple[int, int], ...], ...]
    placeholder: str = "<image>"
    options: tuple[tuple[str, Any], ...] = ()
    placed: bool = True
    nested: bool = False
    unused: tuple[str, ...] = ()

    def build(self) -> tuple[Any, Any]:
        torch.manual_seed(0)
        model, processor = built(self.make)
        model.eval().requires_grad_(False)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() >= 2:
                    parameter.normal_(0, 0.15)
            for name, parameter in model.named_parameters():
                if name.endswith("mm_input_projection_weight"):
                    parameter.normal_(0, 0.15)
        localise(model)
        return model, processor

    def inputs(self, processor: Any, pictures: Sequence[Sequence[Image.Image]]) -> dict[str, Tensor]:
        texts = [
            "<s> see " + " and ".join([self.placeholder] * len(row)) + " what is that" + " it" * index
            for index, row in enumerate(pictures)
        ]
        images = [list(row) for row in pictures] if self.nested else [one for row in pictures for one in row]
        found = processor(images=images, text=texts, return_tensors="pt", padding=True, **dict(self.options))
        return {
            name: value.float() if torch.is_floating_point(value) else value
            for name, value in found.items()
            if name not in self.unused and isinstance(value, Tensor)
        }


def background(size: tuple[int, int], seed: int) -> Image.Image:
    """Return a picture of little noise, the same for the same seed."""
    noise = np.random.default_rng(seed).integers(96, 112, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(noise)


def dotted(picture: Image.Image, x: float, y: float, radius: tuple[float, float]) -> Image.Image:
    """Return the picture with a white ellipse at fractions ``x, y``."""
    width, height = picture.size
    down, across = np.mgrid[0:height, 0:width] + 0.5
    inside = ((across - x * width) / radius[0]) ** 2 + ((down - y * height) / radius[1]) ** 2 <= 1
    return Image.fromarray(np.where(inside[..., None], np.uint8(255), np.asarray(picture)))


def embeddings(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    """Return what the decoder reads, ``[B, T, d]``."""
    return recorded(Replayer(model), inputs).calls[0].embeddings


# --- models and processors ------------------------------------------------------------------------------------------


def _llava() -> tuple[Any, Any]:
    words = tokenizer("<image>")
    config = hf.LlavaConfig(
        text_config=text("llama"), vision_config=clip() | {"image_size": 56}, image_token_index=token(words, "<image>"),
        vision_feature_layer=-1,
    )  # fmt: skip
    pixels = hf.CLIPImageProcessor(size={"height": 56, "width": 56}, do_center_crop=False)
    processor = hf.LlavaProcessor(
        pixels, words, patch_size=14, vision_feature_select_strategy="default", num_additional_image_tokens=1
    )
    return hf.LlavaForConditionalGeneration(config), processor


def _llava_class_token() -> tuple[Any, Any]:
    model, processor = _llava()
    model.config.vision_feature_select_strategy = processor.vision_feature_select_strategy = "full"
    return model, processor


def _vipllava() -> tuple[Any, Any]:
    model, processor = _llava()
    config = hf.VipLlavaConfig(
        text_config=text("llama"), vision_config=clip() | {"image_size": 56}, vision_feature_layers=[-1, -2],
        image_token_index=model.config.image_token_index,
    )  # fmt: skip
    return hf.VipLlavaForConditionalGeneration(config), processor


def token(words: Any, name: str) -> int:
    return int(words.convert_tokens_to_ids(name))


PINPOINTS = [[56, 112], [112, 56], [112, 112], [168, 56], [56, 168]]


def _llava_next() -> tuple[Any, Any]:
    words = tokenizer("<image>")
    config = hf.LlavaNextConfig(
        text_config=text("llama"), vision_config=clip() | {"image_size": 56}, image_token_index=token(words, "<image>"),
        vision_feature_layer=-1, image_grid_pinpoints=PINPOINTS,
    )  # fmt: skip
    pixels = hf.LlavaNextImageProcessor(
        size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}, image_grid_pinpoints=PINPOINTS
    )
    processor = hf.LlavaNextProcessor(
        pixels, words, patch_size=14, vision_feature_select_strategy="default", num_additional_image_tokens=1
    )
    return hf.LlavaNextForConditionalGeneration(config), processor


def _llava_next_video() -> tuple[Any, Any]:
    _, processor = _llava_next()
    config = hf.LlavaNextVideoConfig(
        text_config=text("llama"), vision_config=clip() | {"image_size": 56}, vision_feature_layer=-1,
        image_token_index=processor.image_token_id, video_token_index=100, image_grid_pinpoints=PINPOINTS,
    )  # fmt: skip
    return hf.LlavaNextVideoForConditionalGeneration(config), processor


def _llava_onevision(most: int = 9) -> tuple[Any, Any]:
    words = tokenizer("<image>", "<video>")
    size = f"anyres_max_{most}"
    config = hf.LlavaOnevisionConfig(
        text_config=text("qwen2"), vision_config=siglip(56), image_token_index=token(words, "<image>"),
        video_token_index=token(words, "<video>"), image_grid_pinpoints=PINPOINTS, vision_aspect_ratio=size,
    )  # fmt: skip
    pixels = hf.LlavaOnevisionImageProcessor(size={"height": 56, "width": 56}, image_grid_pinpoints=PINPOINTS)
    processor = hf.LlavaOnevisionProcessor(
        pixels, words, hf.LlavaOnevisionVideoProcessor(size={"height": 56, "width": 56}), num_image_tokens=16,
        vision_feature_select_strategy="full", vision_aspect_ratio=size,
    )  # fmt: skip
    return hf.LlavaOnevisionForConditionalGeneration(config), processor


def _pixtral_processor(merge: int) -> Any:
    words = tokenizer("[IMG]", "[IMG_BREAK]", "[IMG_END]")
    pixels = hf.PixtralImageProcessor(patch_size=14 * merge, size={"longest_edge": 112})
    return hf.PixtralProcessor(pixels, words, patch_size=14, spatial_merge_size=merge, image_token="[IMG]")


def _llava_pixtral() -> tuple[Any, Any]:
    processor = _pixtral_processor(1)
    config = hf.LlavaConfig(
        text_config=text("mistral", sliding_window=None), vision_config=pixtral(112), vision_feature_layer=-1,
        image_token_index=processor.image_token_id, vision_feature_select_strategy="full",
    )  # fmt: skip
    return hf.LlavaForConditionalGeneration(config), processor


def _mistral3() -> tuple[Any, Any]:
    processor = _pixtral_processor(2)
    config = hf.Mistral3Config(
        text_config=text("mistral", sliding_window=None), vision_config=pixtral(112),
        image_token_index=processor.image_token_id,
    )  # fmt: skip
    return hf.Mistral3ForConditionalGeneration(config), processor


def _lighton_ocr() -> tuple[Any, Any]:
    processor = _pixtral_processor(2)
    config = hf.LightOnOcrConfig(
        text_config=text("qwen3"), vision_config=pixtral(112), image_token_id=processor.image_token_id
    )
    return hf.LightOnOcrForConditionalGeneration(config), processor


QWEN = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")


def _qwen(kind: str, patch: int, vision: dict[str, Any], decoder: dict[str, Any]) -> tuple[Any, Any]:
    words = tokenizer(*QWEN)
    names = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    ids = {name: token(words, mark) for name, mark in zip(names, QWEN, strict=True)}
    config = getattr(hf, f"{kind}Config")(text_config=decoder, vision_config=vision, **ids)
    size = {"shortest_edge": 16, "longest_edge": 10**6}
    pixels = hf.Qwen2VLImageProcessor(patch_size=patch, merge_size=2, size=size)
    if kind == "Qwen3VL":
        videos = hf.Qwen3VLVideoProcessor(patch_size=patch, merge_size=2, size=size)
        processor = hf.Qwen3VLProcessor(pixels, words, videos)
    else:
        videos = hf.Qwen2VLVideoProcessor(patch_size=patch, merge_size=2, size=size)
        processor = hf.Qwen2VLProcessor(pixels, words, videos)
    return getattr(hf, f"{kind}ForConditionalGeneration")(config), processor


def _qwen2_vl() -> tuple[Any, Any]:
    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "patch_size": 14}
    return _qwen("Qwen2VL", 14, vision, text("qwen2_vl_text", rope_parameters=MROPE))


def _qwen2_5_vl() -> tuple[Any, Any]:
    return _qwen("Qwen2_5_VL", 14, qwen2_5_vision(), text("qwen2_5_vl_text", rope_parameters=MROPE))


def _qwen3_vl() -> tuple[Any, Any]:
    vision = QWEN3_VISION | {"deepstack_visual_indexes": [0]}
    return _qwen("Qwen3VL", 16, vision, text("qwen3_vl_text", rope_parameters=MROPE))


def _qwen3_5() -> tuple[Any, Any]:
    linear = {
        "linear_conv_kernel_dim": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2,
        "linear_num_value_heads": 4, "layer_types": ["linear_attention", "linear_attention", "full_attention"],
    }  # fmt: skip
    rope = MROPE | {"partial_rotary_factor": 1.0}
    return _qwen("Qwen3_5", 16, QWEN3_VISION, text("qwen3_5_text", rope_parameters=rope, **linear))


def _internvl() -> tuple[Any, Any]:
    words = tokenizer(
        start_image_token="<img>", end_image_token="</img>", context_image_token="<IMG_CONTEXT>", video_token="<video>"
    )
    tower = SMALL | {"image_size": [56, 56], "patch_size": [14, 14]}
    config = hf.InternVLConfig(
        text_config=text("qwen2"), vision_config=tower, image_token_id=token(words, "<IMG_CONTEXT>")
    )
    pixels = hf.GotOcr2ImageProcessor(
        size={"height": 56, "width": 56}, crop_to_patches=True, min_patches=1, max_patches=6
    )
    processor = hf.InternVLProcessor(pixels, words, hf.InternVLVideoProcessor(), image_seq_length=4)
    return hf.InternVLForConditionalGeneration(config), processor


ROW_COLUMN = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]


def _idefics3() -> tuple[Any, Any]:
    words = tokenizer("<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *ROW_COLUMN)
    config = hf.Idefics3Config(
        text_config=text("llama"), vision_config=SMALL | {"image_size": 56, "patch_size": 14}, scale_factor=2,
        image_token_id=token(words, "<image>"),
    )  # fmt: skip
    pixels = hf.Idefics3ImageProcessor(size={"longest_edge": 168}, max_image_size={"longest_edge": 56})
    return hf.Idefics3ForConditionalGeneration(config), hf.Idefics3Processor(pixels, words, image_seq_len=4)


def _smolvlm() -> tuple[Any, Any]:
    _, processor = _idefics3()
    config = hf.SmolVLMConfig(
        text_config=text("llama"), vision_config=SMALL | {"image_size": 56, "patch_size": 14}, scale_factor=2,
        image_token_id=processor.image_token_id,
    )  # fmt: skip
    return hf.SmolVLMForConditionalGeneration(config), processor


def _gemma3() -> tuple[Any, Any]:
    words = tokenizer(image_token="<image_soft_token>", boi_token="<boi>", eoi_token="<eoi>")
    config = hf.Gemma3Config(
        text_config=text("gemma3_text", query_pre_attn_scalar=8), vision_config=siglip(56), mm_tokens_per_image=4,
        image_token_index=token(words, "<image_soft_token>"), boi_token_index=token(words, "<boi>"),
        eoi_token_index=token(words, "<eoi>"),
    )  # fmt: skip
    pixels = hf.Gemma3ImageProcessor(
        size={"height": 56, "width": 56}, pan_and_scan_min_crop_size=16, pan_and_scan_max_num_crops=4,
        pan_and_scan_min_ratio_to_activate=1.2,
    )  # fmt: skip
    return hf.Gemma3ForConditionalGeneration(config), hf.Gemma3Processor(pixels, words, image_seq_length=4)


def _paligemma() -> tuple[Any, Any]:
    words = tokenizer(image_token="<image>")
    config = hf.PaliGemmaConfig(
        text_config=text("gemma", vocab_size=2048), vision_config=siglip(56, projection_dim=32), projection_dim=32,
        image_token_index=token(words, "<image>"), hidden_size=32,
    )  # fmt: skip
    pixels = hf.SiglipImageProcessor(size={"height": 56, "width": 56})
    pixels.image_seq_length = 16
    return hf.PaliGemmaForConditionalGeneration(config), hf.PaliGemmaProcessor(pixels, words)


def _aya_vision() -> tuple[Any, Any]:
    tiles = ["TILE_GLOBAL", *(f"TILE_{number}" for number in range(1, 7))]
    words = tokenizer("<image>", "<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", *tiles)
    config = hf.AyaVisionConfig(
        text_config=text("cohere2"), vision_config=siglip(56), image_token_index=token(words, "<|IMG_PATCH|>")
    )
    pixels = hf.GotOcr2ImageProcessor(
        size={"height": 56, "width": 56}, crop_to_patches=True, min_patches=1, max_patches=6
    )
    processor = hf.AyaVisionProcessor(pixels, words, patch_size=14, img_size=56, downsample_factor=2)
    return hf.AyaVisionForConditionalGeneration(config), processor


def _cohere2_vision() -> tuple[Any, Any]:
    words = tokenizer(image_token="<image>", boi_token="<boi>", eoi_token="<eoi>", img_line_break_token="<break>")
    config = hf.Cohere2VisionConfig(
        text_config=text("cohere2"), vision_config=siglip(56), image_token_id=token(words, "<image>"),
        alignment_intermediate_size=64,
    )  # fmt: skip
    pixels = hf.Cohere2VisionImageProcessor(
        size={"height": 56, "width": 56}, crop_to_patches=True, min_patches=1, max_patches=6, patch_size=2
    )
    return hf.Cohere2VisionForConditionalGeneration(config), hf.Cohere2VisionProcessor(pixels, words)


def _got_ocr2() -> tuple[Any, Any]:
    words = tokenizer("<imgpad>", "<img>", "</img>", "<|im_start|>", "<|im_end|>")
    vision = {
        "hidden_size": 32, "output_channels": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 64,
        "patch_size": 4, "window_size": 2, "global_attn_indexes": [1], "mlp_dim": 64,
    }  # fmt: skip
    config = hf.GotOcr2Config(
        text_config=text("qwen2"), vision_config=vision, image_token_index=token(words, "<imgpad>"), image_seq_length=16
    )
    pixels = hf.GotOcr2ImageProcessor(size={"height": 64, "width": 64})
    return hf.GotOcr2ForConditionalGeneration(config), hf.GotOcr2Processor(pixels, words)


def _ovis2() -> tuple[Any, Any]:
    marks = ["<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>"]
    words = tokenizer("<image>", "<IMG_ATOM>", *marks)
    vision = SMALL | {"image_size": 56, "patch_size": 14, "hidden_stride": 2, "vocab_size": 48}
    config = hf.Ovis2Config(
        text_config=text("qwen2"), vision_config=vision, image_token_id=token(words, "<IMG_ATOM>"), hidden_size=32,
        visual_indicator_token_ids=[token(words, mark) for mark in marks],
    )  # fmt: skip
    pixels = hf.Ovis2ImageProcessor(size={"height": 56, "width": 56}, crop_to_patches=True, max_patches=6)
    return hf.Ovis2ForConditionalGeneration(config), hf.Ovis2Processor(pixels, words, image_seq_length=4)


def _lfm2_vl() -> tuple[Any, Any]:
    places = [f"<|img_row_{row}_col_{column}|>" for row in range(1, 5) for column in range(1, 5)]
    words = tokenizer("<image>", "<|image_start|>", "<|image_end|>", "<|img_thumbnail|>", *places)
    tower = {"model_type": "siglip2_vision_model", "patch_size": 14, "num_patches": 16, "vision_use_head": False}
    decoder = text("lfm2", layer_types=["conv", "conv", "full_attention"], conv_L_cache=3, block_ff_dim=64)
    config = hf.Lfm2VlConfig(
        text_config=decoder, vision_config=tower | SMALL, image_token_id=token(words, "<image>"),
        projector_hidden_size=32,
    )  # fmt: skip
    pixels = hf.Lfm2VlImageProcessor(
        encoder_patch_size=14, tile_size=56, max_tiles=4, min_tiles=2, min_image_tokens=2, max_image_tokens=8,
        max_num_patches=32, max_pixels_tolerance=1.0,
    )  # fmt: skip
    return hf.Lfm2VlForConditionalGeneration(config), hf.Lfm2VlProcessor(pixels, words)


def _llama4() -> tuple[Any, Any]:
    marks = ("<|image|>", "<|image_start|>", "<|image_end|>", "<|patch|>", "<|tile_x_separator|>")
    words = tokenizer(*marks, "<|tile_y_separator|>")
    vision = {
        "hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 56,
        "patch_size": 14, "vision_output_dim": 32, "projector_input_dim": 32, "projector_output_dim": 32,
    }  # fmt: skip
    decoder = text("llama4_text", num_local_experts=2, intermediate_size_mlp=64)
    config = hf.Llama4Config(
        text_config=decoder, vision_config=vision, boi_token_index=token(words, "<|image_start|>"),
        eoi_token_index=token(words, "<|image_end|>"), image_token_index=token(words, "<|patch|>"),
    )  # fmt: skip
    pixels = hf.Llama4ImageProcessor(size={"height": 56, "width": 56}, max_patches=4)
    return hf.Llama4ForConditionalGeneration(config), hf.Llama4Processor(pixels, words, patch_size=14)


def _janus() -> tuple[Any, Any]:
    words = tokenizer(image_token="<image_placeholder>", boi_token="<boi>", eoi_token="<eoi>")
    vision = {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 56, "patch_size": 14,
        "mlp_ratio": 2, "projection_dim": 32, "num_image_tokens": 16,
    }  # fmt: skip
    vq = {
        "embed_dim": 8, "num_embeddings": 16, "latent_channels": 8, "base_channels": 32, "channel_multiplier": [1, 1],
        "num_patches": 4, "projection_dim": 32, "image_token_embed_dim": 32, "num_res_blocks": 1,
    }  # fmt: skip
    config = hf.JanusConfig(
        text_config=text("llama"), vision_config=vision, vq_config=vq,
        image_token_id=token(words, "<image_placeholder>"),
    )  # fmt: skip
    pixels = hf.JanusImageProcessor(size={"height": 56, "width": 56}, min_size=14)
    processor = hf.JanusProcessor(pixels, words, num_image_tokens=16)
    return hf.JanusForConditionalGeneration(config), processor


def _deepseek_vl() -> tuple[Any, Any]:
    words = tokenizer(image_token="<image_placeholder>")
    config = hf.DeepseekVLConfig(
        text_config=text("llama"), vision_config=siglip(56), image_token_id=token(words, "<image_placeholder>")
    )
    pixels = hf.DeepseekVLImageProcessor(size={"height": 56, "width": 56}, min_size=14)
    return hf.DeepseekVLForConditionalGeneration(config), hf.DeepseekVLProcessor(pixels, words, num_image_tokens=16)


def _glm4v() -> tuple[Any, Any]:
    marks = ("<|image|>", "<|video|>", "<|begin_of_image|>", "<|end_of_image|>")
    words = tokenizer(*marks, "<|begin_of_video|>", "<|end_of_video|>")
    vision = {
        "depth": 2, "hidden_size": 32, "num_heads": 4, "image_size": 56, "patch_size": 14, "out_hidden_size": 32,
        "intermediate_size": 64,
    }  # fmt: skip
    names = ("image", "video", "image_start", "image_end", "video_start", "video_end")
    ids = dict(zip(names, (*marks, "<|begin_of_video|>", "<|end_of_video|>"), strict=True))
    config = hf.Glm4vConfig(
        text_config=text("glm4v_text", rope_parameters=MROPE), vision_config=vision,
        **{f"{name}_token_id": token(words, mark) for name, mark in ids.items()},
    )  # fmt: skip
    size = {"shortest_edge": 16, "longest_edge": 10**6}
    pixels = hf.Glm4vImageProcessor(patch_size=14, merge_size=2, size=size)
    processor = hf.Glm4vProcessor(pixels, words, hf.Glm4vVideoProcessor(patch_size=14, merge_size=2, size=size))
    return hf.Glm4vForConditionalGeneration(config), processor


def _video_llama_3() -> tuple[Any, Any]:
    words = tokenizer(*QWEN)
    config = hf.VideoLlama3Config(
        text_config=text("qwen2"), vision_config=SMALL | {"patch_size": 14},
        image_token_id=token(words, "<|image_pad|>"), video_token_id=token(words, "<|video_pad|>"),
    )  # fmt: skip
    pixels = hf.VideoLlama3ImageProcessor(patch_size=14, merge_size=1, min_pixels=16, max_pixels=10**6)
    processor = hf.VideoLlama3Processor(pixels, words, hf.VideoLlama3VideoProcessor(patch_size=14))
    return hf.VideoLlama3ForConditionalGeneration(config), processor


def _exaone4_5() -> tuple[Any, Any]:
    vision = qwen2_5_vision() | {"num_key_value_heads": 2, "patch_size": 14}
    return _qwen("Exaone4_5_", 14, vision, text("exaone4"))


TWO = (((56, 56),), ((140, 84), (56, 112)))
"""One picture in the first row; a wide and a tall one in the second."""

CASES: dict[str, Case] = {
    "llava": Case(_llava, TWO),
    "llava_class_token": Case(_llava_class_token, TWO),
    "vipllava": Case(_vipllava, TWO),
    "llava_next": Case(_llava_next, (((120, 120),), ((200, 90), (70, 160)))),
    "llava_next_video": Case(_llava_next_video, (((200, 90),),)),
    "llava_onevision": Case(_llava_onevision, (((120, 120),), ((200, 90),), ((70, 160),)), nested=True),
    "llava_onevision_small": Case(lambda: _llava_onevision(1), (((120, 120),), ((200, 90),)), nested=True),
    "llava_onevision_several": Case(_llava_onevision, (((120, 120),), ((200, 90), (70, 160))), nested=True),
    "llava_pixtral": Case(_llava_pixtral, TWO, "[IMG]", nested=True),
    "mistral3": Case(_mistral3, TWO, "[IMG]", nested=True),
    "lighton_ocr": Case(_lighton_ocr, TWO, "[IMG]", nested=True),
    "qwen2_vl": Case(_qwen2_vl, TWO, "<|vision_start|><|image_pad|><|vision_end|>"),
    "qwen2_vl_one_run": Case(_qwen2_vl, (((56, 84),), ((140, 84),)), "<|image_pad|>"),
    "qwen2_5_vl": Case(_qwen2_5_vl, TWO, "<|vision_start|><|image_pad|><|vision_end|>"),
    "qwen3_vl": Case(_qwen3_vl, (((64, 64),), ((160, 96), (64, 128))), "<|vision_start|><|image_pad|><|vision_end|>"),
    "qwen3_5": Case(_qwen3_5, (((64, 64),), ((160, 96), (64, 128))), "<|vision_start|><|image_pad|><|vision_end|>"),
    "exaone4_5": Case(
        _exaone4_5, TWO, "<|vision_start|><|image_pad|><|vision_end|>", unused=("mm_token_type_ids",)
    ),
    "glm4v": Case(_glm4v, TWO, "<|begin_of_image|><|image|><|end_of_image|>"),
    "video_llama_3": Case(_video_llama_3, TWO, "<|image_pad|>"),
    "internvl": Case(_internvl, (((60, 60),), ((170, 60), (60, 120))), "<IMG_CONTEXT>", placed=False),
    "idefics3": Case(_idefics3, (((168, 112),), ((60, 160), (112, 168))), nested=True),
    "smolvlm": Case(_smolvlm, (((168, 112),), ((60, 160), (112, 168))), nested=True),
    "gemma3": Case(_gemma3, TWO, "<boi>", nested=True),
    "gemma3_crops": Case(
        _gemma3, TWO, "<boi>", (("do_pan_and_scan", True), ("pan_and_scan_min_crop_size", 16)), False, nested=True
    ),
    "paligemma": Case(_paligemma, TWO, nested=True),
    "aya_vision": Case(_aya_vision, (((60, 60),), ((170, 60), (60, 120))), placed=False),
    "cohere2_vision": Case(_cohere2_vision, (((60, 60),), ((170, 60), (60, 120))), placed=False),
    "got_ocr2": Case(
        _got_ocr2, (((120, 60),), ((60, 60), (60, 90))), "<img><imgpad></img>", (("num_image_tokens", 16),)
    ),
    "got_ocr2_tiles": Case(
        _got_ocr2, (((120, 60),), ((60, 60),)), "<img><imgpad></img>",
        (("num_image_tokens", 16), ("crop_to_patches", True), ("max_patches", 4)), placed=False,
    ),
    "ovis2": Case(_ovis2, (((60, 60),), ((170, 60), (60, 120)))),
    "lfm2_vl": Case(_lfm2_vl, (((60, 60),), ((170, 60), (60, 120))), nested=True),
    "llama4": Case(_llama4, (((56, 56),), ((112, 56), (56, 112))), "<|image|>", nested=True),
    "janus": Case(_janus, (((56, 56),), ((56, 56), (56, 56))), "<image_placeholder>"),
    "deepseek_vl": Case(_deepseek_vl, (((56, 56),), ((56, 56), (56, 56))), "<image_placeholder>"),
}  # fmt: skip
