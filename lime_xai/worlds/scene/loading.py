"""Loading a model of the scene world from a folder."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoProcessor, LlavaForConditionalGeneration

from lime_xai.storage.store import weights_read

from .objects import CLASSES

MODEL_FOLDER = Path(__file__).with_name("model")
"""The shipped model."""


def load_model(folder: Path = MODEL_FOLDER) -> tuple[LlavaForConditionalGeneration, Any]:
    """Load a model and its processor from a folder, without any network access.

    Parameters
    ----------
    folder : Path
        What ``python -m benchmarks.worlds.training`` wrote; by default the shipped model.

    Returns
    -------
    (LlavaForConditionalGeneration, LlavaProcessor)
        The model in evaluation mode, float32 on the CPU whatever it is stored in, and its processor.

    Raises
    ------
    FileNotFoundError
        If the folder holds no finished model.
    ValueError
        If its tokenizer does not know the scene world's objects, or its weights are damaged.
    """
    if not (folder / "model.safetensors").exists():
        raise FileNotFoundError(
            f"{folder} holds no model.safetensors; "
            f"make one with: python -m benchmarks.worlds.training --world scene --out {folder}"
        )
    loader: Any = AutoProcessor
    with weights_read(folder / "model.safetensors"):
        model: Any = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    processor = loader.from_pretrained(folder, local_files_only=True)
    unknown = [c for c in CLASSES if c not in processor.tokenizer.get_vocab()]
    if unknown:
        raise ValueError(
            f"the tokenizer in {folder} lacks the tokens {', '.join(unknown)}; expected the scene world's vocabulary"
        )
    return model.eval(), processor
