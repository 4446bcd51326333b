"""Make a model from nothing: download the parts, cache features, train, and assemble.

Each step is the command of its name, and goes on where it was interrupted.
"""

import argparse
from pathlib import Path
from types import ModuleType
from typing import Final

from rich.console import Console

from . import assemble, features, parts, training
from .model import check_free_folder

STEPS: Final = (("parts", parts), ("features", features), ("train", training), ("assemble", assemble))


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
    check_free_folder(out)
    threads = ["--threads", str(arguments.threads)]
    given = {
        "parts": [],
        "features": threads,
        "train": ["--seed", str(arguments.seed), "--out", str(trained), *threads],
        "assemble": [str(trained / "weights.safetensors"), "--out", str(out)],
    }
    for number, (name, module) in enumerate(STEPS, start=1):
        Console().print(f"step {number} of {len(STEPS)}: {name}")
        module.run(_parsed(module, arguments.folder, given[name]))


def _parsed(module: ModuleType, folder: Path, argv: list[str]) -> argparse.Namespace:
    """Return the arguments of a command, which its own parser reads."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, default=folder)
    module.add_arguments(parser)
    return parser.parse_args(argv)
