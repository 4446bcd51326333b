"""Whisper tiny's encoder, read from a package into Qwen2-Audio's, which has the same layers and a pooling behind them.

The package holds CTranslate2's binary format, version 6: a header, variables (name, rank, dimensions, type, bytes), and
aliases; little-endian. Whisper's weights are float16 there.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Qwen2AudioEncoder, Qwen2AudioEncoderConfig

from lime_xai.storage.store import DamagedFileError

LAYERS: Final = 4
_TYPES: Final = {0: "<f4", 1: "i1", 2: "<i2", 3: "<i4", 4: "<f2"}
_VERSION: Final = 6


def read_ctranslate2(file: Path) -> dict[str, NDArray[Any]]:
    """Return the variables of a CTranslate2 file by name.

    Raises
    ------
    DamagedFileError
        If it has another version, ends early or goes on behind its end.
    """
    source = io.BytesIO(file.read_bytes())

    def number(kind: str) -> int:
        found: int = struct.unpack("<" + kind, source.read(struct.calcsize(kind)))[0]
        return found

    def text() -> str:
        return source.read(number("H"))[:-1].decode()

    found: dict[str, NDArray[Any]] = {}
    try:
        version, _, _, count = number("I"), text(), number("I"), number("I")
        if version != _VERSION:
            raise ValueError(f"its version is {version}")
        for _ in range(count):
            name = text()
            shape = [number("I") for _ in range(number("B"))]
            kind = _TYPES[number("B")]
            found[name] = np.frombuffer(source.read(number("I")), kind).reshape(shape)
        for _ in range(number("I")):
            text(), text()
    except (struct.error, UnicodeDecodeError, ValueError, KeyError) as error:
        raise DamagedFileError(
            f"{file} is no file of CTranslate2, version {_VERSION}, or it is damaged ({error!r}); delete its folder, "
            "and run `python -m benchmarks.recordings parts`"
        ) from error
    if source.read(1):
        raise DamagedFileError(f"{file} has bytes behind its end; delete its folder and download it again.")
    return found


def encoder_weights(values: dict[str, NDArray[Any]], layers: int = LAYERS) -> dict[str, Tensor]:
    """Return the encoder's weights by transformers' names, float32.

    Queries, keys and values are one matrix in the file, and keys have a bias there, which is zero.

    Parameters
    ----------
    values : dict of str to numpy.ndarray
        What ``read_ctranslate2`` read.
    layers : int
        How many, from the first.

    Raises
    ------
    ValueError
        If a bias of keys is not zero: transformers' Whisper has none.
    """

    def get(name: str) -> Tensor:
        return torch.from_numpy(values[f"encoder/{name}"].astype(np.float32))

    found = {"embed_positions.weight": get("position_encodings/encodings")}

    def take(mine: str, theirs: str, kind: str = "weight bias") -> None:
        for side, name in zip(("weight", "bias"), kind.split(), strict=True):
            found[f"{mine}.{side}"] = get(f"{theirs}/{name}")

    take("conv1", "conv1")
    take("conv2", "conv2")
    take("layer_norm", "layer_norm", "gamma beta")
    for index in range(layers):
        mine, theirs = f"layers.{index}", f"layer_{index}"
        packed = [get(f"{theirs}/self_attention/linear_0/{side}").chunk(3) for side in ("weight", "bias")]
        for part, weight, bias in zip("qkv", *packed, strict=True):
            found[f"{mine}.self_attn.{part}_proj.weight"] = weight.contiguous()
            if part != "k":
                found[f"{mine}.self_attn.{part}_proj.bias"] = bias.contiguous()
            elif bias.any():
                raise ValueError(f"{theirs} has a bias of keys, which Whisper has not; this is another model")
        take(f"{mine}.self_attn.out_proj", f"{theirs}/self_attention/linear_1")
        take(f"{mine}.self_attn_layer_norm", f"{theirs}/self_attention/layer_norm", "gamma beta")
        take(f"{mine}.fc1", f"{theirs}/ffn/linear_0")
        take(f"{mine}.fc2", f"{theirs}/ffn/linear_1")
        take(f"{mine}.final_layer_norm", f"{theirs}/ffn/layer_norm", "gamma beta")
    return found


def tower_config(
    seconds: int, layers: int = LAYERS, width: int = 384, heads: int = 6, inner: int = 1536, bands: int = 80
) -> Qwen2AudioEncoderConfig:
    """Return the configuration of an encoder of sounds of a fixed length; by default that of Whisper tiny."""
    kind: Any = Qwen2AudioEncoderConfig
    found: Qwen2AudioEncoderConfig = kind(
        num_mel_bins=bands,
        d_model=width,
        encoder_layers=layers,
        encoder_attention_heads=heads,
        encoder_ffn_dim=inner,
        max_source_positions=50 * seconds,
    )
    return found


def tower(file: Path, seconds: int, layers: int = LAYERS) -> Qwen2AudioEncoder:
    """Return Whisper tiny's encoder as Qwen2-Audio's, float32, in evaluation mode.

    Whisper's window is 30 s; its first positions are kept. Before the pooling it computes what Whisper's encoder does
    before its last norm. With fewer than four layers that norm is kept, though it was trained for the last layer: the
    projector behind it is linear, and takes its scale and shift back.

    Parameters
    ----------
    file : Path
        The weights.
    seconds : int
        Of the window, at most 30.
    layers : int
        How many, from 1 to 4.

    Raises
    ------
    ValueError
        For a window or layers that Whisper has not.
    """
    if not 1 <= seconds <= 30 or not 1 <= layers <= LAYERS:
        raise ValueError(f"seconds is {seconds} and layers {layers}; expected 1 to 30, and 1 to {LAYERS}")
    weights = encoder_weights(read_ctranslate2(file), layers)
    weights["embed_positions.weight"] = weights["embed_positions.weight"][: 50 * seconds].clone()
    model = Qwen2AudioEncoder(tower_config(seconds, layers))
    model.load_state_dict(weights)  # strict: no weight is missing or left over
    model.train(False)
    return model
