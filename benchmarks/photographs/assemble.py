"""Make a folder that from_pretrained loads, of the parts and of what was trained."""

import argparse
from pathlib import Path

import torch
from rich.console import Console

from lime_xai.printing import foreign
from lime_xai.storage.store import holding, write_json
from lime_xai.storage.weights import weights_hash

from .adapters import read
from .model import build, check_free_folder, save
from .packages import Parts, found

TYPES = {"float32": torch.float32, "float16": torch.float16}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is trained, where the model goes, and its type."""
    parser.add_argument("weights", type=Path, help="what was trained: a .safetensors file")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--dtype", choices=tuple(TYPES), default="float32", help="of the weights in the folder")


def run(arguments: argparse.Namespace) -> None:
    """Assemble, and print what the folder is for."""
    digest = assemble(found(arguments.folder), arguments.weights, arguments.out, TYPES[arguments.dtype])
    console = Console()
    console.print(f"sha256 of the weights: {digest}", soft_wrap=True, highlight=False)
    asked = f"lime-xai steer {arguments.out} --image photo.jpg --prompt 'What is in the picture?'"
    console.print(foreign(asked), soft_wrap=True)


def assemble(parts: Parts, weights: Path, out: Path, dtype: torch.dtype = torch.float32) -> str:
    """Write the model with trained weights into a new folder.

    Parameters
    ----------
    parts : Parts
        Where the parts lie.
    weights : Path
        What ``adapters.write`` wrote.
    out : Path
        The folder, made whole or not at all; ``recipe.json`` in it says how the weights were trained.
    dtype : torch.dtype
        Of the weights in it.

    Returns
    -------
    str
        SHA-256 of the weights in float32, as ``weights_hash`` counts it.

    Raises
    ------
    FileExistsError
        If there is something in the folder.
    DamagedFileError
        If the weights are damaged, or of something else.
    """
    check_free_folder(out)
    trained = read(weights)
    model, processor = build(parts, 0)
    with holding(weights, "trained weights of this model", "give another file"):
        trained.put_into(model)
    save(model, processor, out, dtype)
    write_json(out / "recipe.json", dict(trained.about))
    return weights_hash(model)
