"""Loading a model of a world from a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoProcessor

from lime_xai.storage.bars import no_bars
from lime_xai.storage.store import weights_read

if TYPE_CHECKING:
    from .world import World


def load_model(world: World, folder: str | Path | None = None) -> tuple[Any, Any]:
    """Load a model and its processor; ``World.load_model`` says how.

    Parameters
    ----------
    world : World
        Whose model it is.
    folder : str or Path, optional
        What training wrote; by default the shipped model.

    Raises
    ------
    FileNotFoundError
        If the folder holds no finished model, or none is shipped.
    ValueError
        If its tokenizer does not know the world's names, or its weights are damaged.
    """
    place = world.shipped if folder is None else Path(folder)
    if not (place / "model.safetensors").exists():
        train = f"python -m benchmarks.worlds.training --world {world.name} --out"
        if folder is None:
            raise FileNotFoundError(
                f"no model is shipped with the {world.name} world: {place} holds no model.safetensors; make one with: "
                f"{train} FOLDER, and give FOLDER as the model"
            )
        raise FileNotFoundError(f"{place} holds no model.safetensors; make one with: {train} {place}")
    loader: Any = AutoProcessor
    processor = loader.from_pretrained(place, local_files_only=True)
    if unknown := world.unknown_names(processor):
        raise ValueError(
            f"the tokenizer in {place} lacks the tokens {', '.join(unknown)}; "
            f"expected the {world.name} world's vocabulary"
        )
    with weights_read(place / "model.safetensors"), no_bars():
        model: Any = world.model_class.from_pretrained(place, dtype=torch.float32, local_files_only=True)
    return model.eval(), processor
