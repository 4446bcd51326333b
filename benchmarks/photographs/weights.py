"""Weights of the parts, read from their packages into standard classes of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    InternVLVisionConfig,
    InternVLVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from .packages import Parts

LAYERS = 6
"""Layers of the encoder that are kept. Layers 5 to 8 tell objects apart about equally well, later ones less well, as
``probe --layers`` shows."""
SIDE = 224
"""Width and height of a picture in pixels."""
PATCH = 14
"""Width and height of a patch in pixels."""
DEPTH = 12
"""Layers of the encoder in its file."""
# Names that the ONNX exporter chose; the file is fixed by its hash, and so are they.
_CLASS_POSITION = "onnx::Concat_1957"
_POSITIONS = "onnx::Reshape_1962"
_NAMES = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.projection_layer",
    "layer_scale1.lambda1": "lambda_1",
    "layer_scale2.lambda1": "lambda_2",
}
"""Parts of names, in DINOv2's published weights and in InternVL's encoder."""


def read_smollm2(file: Path, dtype: torch.dtype = torch.float32, **settings: Any) -> tuple[Any, Any]:
    """Return the language model in a GGUF file and its tokenizer; this takes one to two minutes.

    Parameters
    ----------
    file : Path
        With the tokenizer in it.
    dtype : torch.dtype
        Of the weights, which the file holds with 4 bits.
    **settings
        Further arguments of ``from_pretrained``.
    """
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=dtype, **settings)
    model.train(False)
    return model, AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)


def language_model(parts: Parts) -> tuple[LlamaForCausalLM, Any]:
    """Return SmolLM2-135M-Instruct, float32, in evaluation mode, and its tokenizer.

    Its configuration does not say that it was quantised: its weights are plain now, and are saved as such.
    """
    read, tokenizer = read_smollm2(parts.smollm2)
    described = read.config.to_dict()
    for key in ("quantization_config", "_name_or_path", "_model_name_or_path", "transformers_version"):
        described.pop(key, None)
    model = LlamaForCausalLM(LlamaConfig(**described))
    model.load_state_dict(read.state_dict())  # strict: no weight is missing or left over
    model.generation_config = read.generation_config
    model.train(False)
    return model, tokenizer


def tower(parts: Parts, layers: int = LAYERS, side: int = SIDE) -> InternVLVisionModel:
    """Return the first layers of DINOv2-S as InternVL's encoder, which computes the same; float32, evaluation mode.

    1. Position embeddings are interpolated here; transformers does it in every call for pictures of another size.
    2. The norm behind the last layer is left out: it was trained for the last layer of the whole encoder. What
       ``forward`` returns, ``last_hidden_state`` [B, 1 + N, 384] with the class token first, is without a norm.

    Parameters
    ----------
    parts : Parts
        Where the weights are.
    layers : int
        How many, from 1 to 12.
    side : int
        Width and height of the pictures, a multiple of 14.

    Raises
    ------
    ValueError
        If there are not so many layers, or a picture of that size is no whole number of patches.
    """
    if not 1 <= layers <= DEPTH:
        raise ValueError(f"layers is {layers}; the encoder has {DEPTH}, expected 1 to {DEPTH}.")
    if side <= 0 or side % PATCH:
        raise ValueError(f"side is {side} pixels; expected a multiple of the {PATCH} of a patch.")
    weights = {
        _renamed(name): value
        for name, value in read_dino(parts.dino).items()
        if _layer(name) < layers and not name.startswith("layernorm.")
    }
    position = "embeddings.position_embeddings"
    weights[position] = resized_positions(weights[position], side // PATCH)
    model = InternVLVisionModel(tower_config(layers, side))
    model.load_state_dict(weights)  # strict: no weight is missing or left over
    model.train(False)
    return model


def tower_config(
    layers: int = LAYERS, side: int = SIDE, width: int = 384, heads: int = 6, inner: int = 1536
) -> InternVLVisionConfig:
    """Return the configuration in which InternVL's encoder computes what DINOv2's does, without the last norm.

    Parameters
    ----------
    layers : int
        How many.
    side : int
        Width and height of the pictures in pixels.
    width, heads, inner : int
        Of a layer; by default those of DINOv2-S.
    """
    return InternVLVisionConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        attention_bias=True,
        image_size=(side, side),
        patch_size=(PATCH, PATCH),
        use_mean_pooling=True,  # then there is no norm behind the last layer
        layer_scale_init_value=1.0,
    )


def read_dino(file: Path) -> dict[str, Tensor]:
    """Return the weights of the encoder in an ONNX file, by the names of DINOv2's published weights.

    The exporter kept names of parameters, except of those that it transposed (matrices) or split (positions). A matrix
    is named by the operation that it is multiplied in.

    Parameters
    ----------
    file : Path
        The exported network: the encoder, and a decoder that is not read.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(file).graph
    stored = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in graph.initializer}
    weights = {name.removeprefix("backbone."): value for name, value in stored.items() if name.startswith("backbone.")}
    for node in graph.node:
        if node.op_type == "MatMul" and node.name.startswith("/backbone/") and node.input[1] in stored:
            name = node.name.removeprefix("/backbone/").removesuffix("/MatMul").replace("/", ".")
            weights[f"{name}.weight"] = stored[node.input[1]].T.contiguous()
    weights["embeddings.position_embeddings"] = torch.cat([stored[_CLASS_POSITION], stored[_POSITIONS]], 1)
    return weights


def resized_positions(positions: Tensor, side: int) -> Tensor:
    """Return position embeddings for another number of patches, interpolated as transformers does, but in float64.

    In float32 the last digit depends on the processor's instructions, and with it the hash of an assembled model.

    Parameters
    ----------
    positions : Tensor
        Shape [1, 1 + N * N, D]: of the class token, then of the patches, row by row.
    side : int
        Patches in a row and in a column.

    Returns
    -------
    Tensor
        Shape [1, 1 + side * side, D].
    """
    before = round((positions.shape[1] - 1) ** 0.5)
    grid = positions[:, 1:].reshape(1, before, before, -1).permute(0, 3, 1, 2)
    grid = interpolate(grid.double(), size=(side, side), mode="bicubic", align_corners=False).to(positions.dtype)
    return torch.cat([positions[:, :1], grid.flatten(2).transpose(1, 2)], 1)


def _layer(name: str) -> int:
    """Return the number of the layer that a weight is of; -1 if it is of none."""
    parts = name.split(".")
    return int(parts[2]) if parts[:2] == ["encoder", "layer"] else -1


def _renamed(name: str) -> str:
    """Return the name in InternVL's encoder of a weight of DINOv2."""
    for published, here in _NAMES.items():
        name = name.replace(published, here)
    return name
