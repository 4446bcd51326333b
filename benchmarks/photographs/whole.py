"""Make a model from nothing: download the parts, cache features, train, and assemble.

Each step is the command of its name, and goes on where it was interrupted. At the end, the weights are compared with
those that this repository holds of the same training seed.
"""

import argparse
from pathlib import Path
from types import ModuleType
from typing import Final

from rich.console import Console

from lime_xai.worlds.shared.models import read_protocol

from . import assemble, features, parts, training
from .model import check_free_folder

STEPS: Final = (("parts", parts), ("features", features), ("train", training))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the training seed and the number of threads."""
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--threads", type=int, default=2, choices=(1, 2))


def run(arguments: argparse.Namespace) -> None:
    """Take every step; the model's folder is looked at first.

    Raises
    ------
    FileExistsError
        If there is something in the folder of the model that would be made.
    """
    trained = arguments.folder / f"trained{arguments.seed}"
    out = arguments.folder / "models" / trained.name
    check_free_folder(
        out,
        f". Delete it to assemble the model again, and {trained} too to train it again; or give another --folder, into "
        "which everything is downloaded",
    )
    threads = ["--threads", str(arguments.threads)]
    given: dict[str, list[str]] = {
        "parts": [],
        "features": threads,
        "train": ["--seed", str(arguments.seed), "--out", str(trained), *threads],
    }
    console, count = Console(), len(STEPS) + 1
    for number, (name, module) in enumerate(STEPS, start=1):
        console.print(f"step {number} of {count}: {name}")
        module.run(_parsed(module, arguments.folder, given[name]))
    console.print(f"step {count} of {count}: assemble")
    argv = [str(trained / "weights.safetensors"), "--out", str(out)]
    digest = assemble.make(_parsed(assemble, arguments.folder, argv))
    console.print(compared(digest, arguments.seed), soft_wrap=True, highlight=False)


def compared(digest: str, seed: int) -> str:
    """Return how the weights of a training seed stand to those that this repository holds of it.

    Parameters
    ----------
    digest : str
        SHA-256 of the weights as float32.
    seed : int
        Of the training.
    """
    held = {one.seed: (name, one.sha256) for name, one in read_protocol(assemble.PROTOCOL).models.items()}
    if seed not in held:
        return f"This repository holds no weights of seed {seed}."
    name, frozen = held[seed]
    if digest == frozen:
        return f"These are the weights of {name}, bit by bit."
    return (
        f"{name} in this repository has other weights: {frozen}. Versions of libraries, the processor and the number "
        "of threads decide in which order numbers are added, and with it the last digits of every step."
    )


def _parsed(module: ModuleType, folder: Path, argv: list[str]) -> argparse.Namespace:
    """Return the arguments of a command, which its own parser reads."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default=folder)
    module.add_arguments(parser)
    return parser.parse_args(argv)
