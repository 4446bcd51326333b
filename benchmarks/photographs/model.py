"""The model: InternVL's class of transformers with DINOv2-S for pictures and SmolLM2 for language.

InternVL's class was chosen because its projector takes blocks of 2 x 2 patches: the 16 x 16 patches of a picture become
64 tokens, a quarter of what LLaVA's would be, with nothing left out. Its own encoder computes what DINOv2's does, from
the same weights under other names: a folder whose encoder was transformers' ``Dinov2Model`` could not be loaded, since
InternVL's configuration admits no other encoder than its own. ``from_pretrained`` loads the whole from a folder
without code of this project.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor, nn
from transformers import (
    GenerationConfig,
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    InternVLVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ProcessorMixin,
)

from lime_xai.storage.store import write_json

from .packages import Parts
from .weights import PATCH, language_model, tower, tower_config

START, END = "<|im_start|>", "<|im_end|>"
"""Marks of SmolLM2's chat, around each turn."""
PLACEHOLDER = "<empty_output>"
"""Stands for a token of a picture."""
MARKS = {
    "start_image_token": "<jupyter_start>",
    "end_image_token": "<jupyter_output>",
    "context_image_token": PLACEHOLDER,
    "video_token": "<jupyter_code>",
}
"""Special tokens of SmolLM2 that the processor uses around and for pictures.

They have no use in its chat. Their embeddings differ from each other in one entry of 576 at most, by .008 at most, as
those of tokens do that never occurred in training. So the vocabulary need not grow.
"""
BLOCK = 2
"""Patches in a row and in a column that make one token."""
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<empty_output>' }}"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}"
    "{% else %}{{ raise_exception('There are parts of type image and text; found ' + part['type']) }}{% endif %}"
    "{% endfor %}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""SmolLM2's chat template for content in parts, and without the system prompt that it puts before the first turn."""
_MEAN, _STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
"""Of the pixels of ImageNet, by which DINOv2's pictures are normalised."""


def build(parts: Parts, seed: int) -> tuple[InternVLForConditionalGeneration, InternVLProcessor]:
    """Return the model, float32, in evaluation mode, with a projector that was not trained, and its processor.

    Parameters
    ----------
    parts : Parts
        Where the weights are.
    seed : int
        Of the projector.
    """
    language, tokenizer = language_model(parts)
    return _joined(tower(parts), language, tokenizer.backend_tokenizer, seed)


def tiny(seed: int) -> tuple[InternVLForConditionalGeneration, InternVLProcessor]:
    """Return a model of the same classes with random weights, for tests, and its processor; nothing is read.

    A picture of 112 x 112 pixels is 4 x 4 tokens. A token of text is one byte.

    Parameters
    ----------
    seed : int
        Of all weights; torch's global generator is left as it was.
    """
    seen = tower_config(layers=2, side=8 * PATCH, width=32, heads=4, inner=64)
    words = bytes_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        eyes = InternVLVisionModel(seen)
        nn.init.normal_(eyes.embeddings.position_embeddings, std=0.1)  # InternVL begins with zeros
        return _joined(eyes, tiny_language(words), words, seed)


def tiny_language(words: Tokenizer) -> LlamaForCausalLM:
    """Return a small language model with weights drawn from torch's global generator, for a tokenizer."""
    config = LlamaConfig(
        vocab_size=words.get_vocab_size(),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=3,
        num_key_value_heads=1,
        max_position_embeddings=512,
        bos_token_id=words.token_to_id(START),
        eos_token_id=words.token_to_id(END),
        pad_token_id=words.token_to_id(END),
        tie_word_embeddings=True,
        initializer_range=0.15,
    )
    model = LlamaForCausalLM(config)
    nn.init.normal_(model.model.embed_tokens.weight, std=config.initializer_range)  # padding begins with zeros
    return model


def save(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    folder: Path,
    dtype: torch.dtype = torch.float32,
    recipe: Mapping[str, Any] | None = None,
) -> None:
    """Write a folder that ``from_pretrained`` of the model's class and of ``AutoProcessor`` loads.

    Parameters
    ----------
    model : PreTrainedModel
        The model; it is left as it is.
    processor : ProcessorMixin
        What prepares its inputs.
    folder : Path
        Made whole or not at all.
    dtype : torch.dtype
        Of the weights in the file.
    recipe : mapping, optional
        How the weights were trained; JSON-ready. It becomes ``recipe.json``.

    Raises
    ------
    FileExistsError
        If there is something in the folder.
    """
    check_free_folder(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)  # of a run that was killed
    try:
        written: Any = model if model.dtype == dtype else copy.deepcopy(model)
        written.to(dtype)
        written.save_pretrained(draft)
        processor.save_pretrained(draft)
        if recipe is not None:
            write_json(draft / "recipe.json", dict(recipe))
        draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def check_free_folder(folder: Path, advice: str = "; give another name, or delete it.") -> None:
    """Refuse a folder in which there is something.

    Parameters
    ----------
    folder : Path
        Which need not be there.
    advice : str
        How the message that names the folder ends.

    Raises
    ------
    FileExistsError
        Naming it.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is there already{advice}")


def fast_tokenizer(tokens: Tokenizer, marks: Mapping[str, str]) -> PreTrainedTokenizerFast:
    """Return SmolLM2's tokenizer for a processor, with names for special tokens, such as ``MARKS``."""
    kind: Any = PreTrainedTokenizerFast
    words: PreTrainedTokenizerFast = kind(
        tokenizer_object=tokens,
        bos_token=START,
        eos_token=END,
        pad_token=END,
        unk_token="<|endoftext|>",
        padding_side="left",
        extra_special_tokens=dict(marks),
        clean_up_tokenization_spaces=False,
    )
    return words


def processor_for(tokens: Tokenizer, side: int) -> InternVLProcessor:
    """Return what prepares pictures and text.

    Parameters
    ----------
    tokens : Tokenizer
        SmolLM2's, or another with its special tokens.
    side : int
        Width and height in pixels to which a picture is scaled; it is never cut into tiles.
    """
    words = fast_tokenizer(tokens, MARKS)
    shown: dict[str, Any] = {"size": {"height": side, "width": side}, "image_mean": _MEAN, "image_std": _STD}
    # InternVLProcessor asks for tiles whatever its image processor says; one tile at most is the whole picture.
    pixels = GotOcr2ImageProcessor(**shown, crop_to_patches=False, min_patches=1, max_patches=1)
    processor: InternVLProcessor = InternVLProcessor(
        pixels,
        words,
        InternVLVideoProcessor(**shown),
        image_seq_length=(side // PATCH // BLOCK) ** 2,
        chat_template=TEMPLATE,
    )
    return processor


def _joined(
    eyes: InternVLVisionModel, language: LlamaForCausalLM, tokens: Tokenizer, seed: int
) -> tuple[InternVLForConditionalGeneration, InternVLProcessor]:
    """Return a model of a tower and a language model, whose weights it copies, with a new projector."""
    seen: Any = eyes.config
    processor = processor_for(tokens, seen.image_size[0])
    config = InternVLConfig(
        vision_config=seen,
        text_config=language.config,
        image_token_id=processor.image_token_id,
        image_seq_length=processor.image_seq_length,
        downsample_ratio=1 / BLOCK,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",  # without the class token
        tie_word_embeddings=language.config.tie_word_embeddings,
        dtype=torch.float32,
    )
    with torch.random.fork_rng(devices=[]):  # its weights are replaced, and the generator is left as it was
        model = InternVLForConditionalGeneration(config)
    model.model.vision_tower.load_state_dict(eyes.state_dict())
    model.model.language_model.load_state_dict(language.model.state_dict())
    model.tie_weights()
    words: Tensor = language.model.embed_tokens.weight
    length = float(words.detach().norm(dim=-1).mean())
    draw_projector(model.model.multi_modal_projector, length, seed)
    model.generation_config = greedy(language)
    model.train(False)
    return model, processor


def greedy(language: LlamaForCausalLM) -> GenerationConfig:
    """Return how a model generates: greedily, up to the end of a turn of this language model."""
    ids = {name: getattr(language.config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    kind: Any = GenerationConfig
    found: GenerationConfig = kind(**ids, do_sample=False)
    return found


@torch.no_grad()
def draw_projector(projector: Any, length: float, seed: int) -> None:
    """Draw the weights of a projector, whose outputs are then about as long as embeddings of words.

    Parameters
    ----------
    projector : InternVLMultiModalProjector
        A norm, and two linear maps with an activation between them.
    length : float
        Mean Euclidean norm of embeddings of words.
    seed : int
        Of the weights, and of the normed features by which the length is measured.
    """
    generator = torch.Generator().manual_seed(seed)
    linear: nn.Linear
    for linear in (projector.linear_1, projector.linear_2):
        nn.init.normal_(linear.weight, std=linear.in_features**-0.5, generator=generator)
        nn.init.zeros_(linear.bias)
    features = torch.randn(256, projector.linear_1.in_features, generator=generator)
    outputs: Tensor = projector(features)
    projector.linear_2.weight.mul_(length / outputs.norm(dim=-1).mean())


def bytes_tokenizer() -> Tokenizer:
    """Return a tokenizer whose tokens are SmolLM2's special ones, at the same ids, and the 256 bytes."""
    special = [
        "<|endoftext|>", START, END, "<repo_name>", "<reponame>", "<file_sep>", "<filename>", "<gh_stars>",
        "<issue_start>", "<issue_comment>", "<issue_closed>", "<jupyter_start>", "<jupyter_text>", "<jupyter_code>",
        "<jupyter_output>", "<jupyter_script>", "<empty_output>",
    ]  # fmt: skip
    names = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokens = Tokenizer(models.BPE(vocab={name: index for index, name in enumerate(names)}, merges=[]))
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    tokens.add_special_tokens(special)
    return tokens
