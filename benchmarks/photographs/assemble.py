"""Make a folder that from_pretrained loads, of the parts and of what was trained; missing parts are downloaded.

The weights are a file of training, or a name: this repository holds ``benchmarks/models/photographs/NAME.safetensors``.
"""

import argparse
import time
from pathlib import Path
from typing import Final

import torch
from rich.console import Console

from lime_xai.printing import foreign
from lime_xai.storage.weights import weights_hash
from lime_xai.worlds.shared.models import read_protocol

from .adapters import Trained, read
from .model import build, check_free_folder, save
from .packages import OF_MODEL, Parts, fetch

TRAINED: Final = Path(__file__).parents[1] / "models" / "photographs"
"""Where the repository holds trained weights."""
PROTOCOL: Final = Path(__file__).with_name("protocol.json")
TYPES = {"float32": torch.float32, "float16": torch.float16}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is trained, where the model goes, and its type."""
    known = ", ".join(sorted(path.stem for path in TRAINED.glob("*.safetensors"))) or "none yet"
    parser.add_argument("weights", help=f"what was trained: a .safetensors file, or a name ({known})")
    parser.add_argument("--out", type=Path, help="a new folder (default: models/NAME in the folder of the parts)")
    parser.add_argument("--dtype", choices=tuple(TYPES), default="float32", help="of the weights in the folder")


def run(arguments: argparse.Namespace) -> None:
    """Assemble; for a name, the weights must be those that were accepted under it.

    Raises
    ------
    ValueError
        If this machine makes other weights.
    """
    digest = make(arguments)
    frozen = read_protocol(PROTOCOL).models.get(arguments.weights)
    if frozen is not None and frozen.sha256 != digest:
        raise ValueError(
            f"{arguments.weights} was accepted with SHA-256 {frozen.sha256}, and this machine made {digest}: the parts "
            "are the same, so a library computes otherwise. The folder can be used, as another model"
        )


def make(arguments: argparse.Namespace) -> str:
    """Download what the model is made of, assemble, and print the folder, its size, the time, and what it is for.

    Returns
    -------
    str
        SHA-256 of the weights as float32.
    """
    console, start = Console(), time.perf_counter()
    trained = read(trained_file(arguments.weights))  # damaged weights are found before anything is downloaded
    out = arguments.out or arguments.folder / "models" / trained.path.stem
    check_free_folder(out)
    parts = fetch(arguments.folder, console, OF_MODEL)
    digest = assemble(parts, trained, out, TYPES[arguments.dtype])
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    took = time.perf_counter() - start
    console.print(foreign(f"{out}: {size:.0f} MB, {took:.0f} s in all"), soft_wrap=True, highlight=False)
    console.print(f"sha256 of the weights as float32: {digest}", soft_wrap=True, highlight=False)
    asked = f"lime-xai steer {out} --image photo.jpg --prompt 'What is in the picture?'"
    console.print(foreign(asked), soft_wrap=True)
    return digest


def trained_file(name: str) -> Path:
    """Return the file of trained weights: a path, or that of a name in ``TRAINED``.

    Raises
    ------
    FileNotFoundError
        If there is neither; lists the names.
    """
    held = {path.stem: path for path in sorted(TRAINED.glob("*.safetensors"))}
    if name in held:
        return held[name]
    if not Path(name).is_file():
        raise FileNotFoundError(
            f"there is no file {name}, and no trained weights of that name in {TRAINED}, which has "
            f"{', '.join(held) or 'none'}; give one of them, or what `python -m benchmarks.photographs train` wrote"
        )
    return Path(name)


def assemble(parts: Parts, trained: Trained, out: Path, dtype: torch.dtype = torch.float32) -> str:
    """Write the model with trained weights into a new folder.

    Parameters
    ----------
    parts : Parts
        Where the parts lie.
    trained : Trained
        What ``adapters.read`` read.
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
        If the weights are of another model.
    """
    check_free_folder(out)
    model, processor = build(parts, 0)
    trained.put_into(model)
    save(model, processor, out, dtype, trained.about)
    return weights_hash(model)
