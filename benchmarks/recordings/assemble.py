"""Make a folder that from_pretrained loads, of the parts and of what was trained; missing parts are downloaded.

The weights are a file of training, or a name: this repository holds ``benchmarks/models/recordings/NAME.safetensors``.
"""

import argparse
import time
from pathlib import Path
from typing import Final

from rich.console import Console

from benchmarks.photographs.adapters import read
from benchmarks.photographs.model import check_free_folder, save
from benchmarks.photographs.packages import OF_HEARING, fetch
from lime_xai.printing import foreign
from lime_xai.storage.weights import weights_hash

from .model import build

TRAINED: Final = Path(__file__).parents[1] / "models" / "recordings"
"""Where the repository holds trained weights."""
FROZEN: Final = {"seed0": "b4026973b97b6f1b33414da0b7d111f39fa8fc89bde615520937f2f54f5f62cc"}
"""SHA-256 of the assembled models that were measured, as ``weights_hash`` counts it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is trained, and where the model goes."""
    known = ", ".join(sorted(path.stem for path in TRAINED.glob("*.safetensors"))) or "none yet"
    parser.add_argument("weights", help=f"what was trained: a .safetensors file, or a name ({known})")
    parser.add_argument("--out", type=Path, help="a new folder (default: models/recordings-NAME below the parts)")


def run(arguments: argparse.Namespace) -> None:
    """Download what the model is made of, assemble, and print the folder, the hash, and what it is for."""
    console, start = Console(), time.perf_counter()
    held = TRAINED / f"{arguments.weights}.safetensors"
    path = held if held.is_file() else Path(arguments.weights)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file {path}, and no {held.name} in {TRAINED}; give one that training wrote"
        )
    trained = read(path, OF_HEARING)  # damaged weights are found before anything is downloaded
    out = arguments.out or arguments.folder / "models" / f"recordings-{path.stem}"
    check_free_folder(out)
    model, processor = build(fetch(arguments.folder, console, OF_HEARING), 0)
    trained.put_into(model)
    save(model, processor, out, recipe=trained.about)
    console.print(foreign(f"{out}: {time.perf_counter() - start:.0f} s in all"), soft_wrap=True, highlight=False)
    digest = weights_hash(model)
    console.print(f"sha256 of the weights as float32: {digest}", soft_wrap=True, highlight=False)
    if FROZEN.get(arguments.weights, digest) != digest:
        raise ValueError(
            f"{arguments.weights} was accepted with SHA-256 {FROZEN[arguments.weights]}, and this machine made "
            f"{digest}: the parts are the same, so a library computes otherwise. The folder can be used, as another one"
        )
    console.print(foreign(f"lime-xai explain {out} --audio sound.ogg --prompt 'What is in the sound?'"), soft_wrap=True)
