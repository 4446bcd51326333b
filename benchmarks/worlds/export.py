"""Copy a trained model with float16 weights: ``python -m benchmarks.worlds.export TRAINED OUT --world scene``."""

import argparse
import shutil
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from lime_xai.storage.weights import weights_hash
from lime_xai.worlds import WORLDS, World


def export_half(world: World, trained: Path, out: Path) -> str:
    """Save a trained model as float16; loading rounds nothing further.

    Parameters
    ----------
    world : World
        Whose model it is.
    trained : Path
        What training wrote.
    out : Path
        Gets weights, configuration, tokenizer, processor and recipe.

    Returns
    -------
    str
        SHA-256 of the rounded weights, as ``weights_hash`` of the loaded model gives it.
    """
    model, processor = world.load_model(trained)
    half: Any = model
    half.to(torch.float16).save_pretrained(out)
    processor.save_pretrained(out)
    shutil.copyfile(trained / "recipe.json", out / "recipe.json")
    return weights_hash(world.load_model(out)[0])


def main() -> None:
    """Export; print the hash."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worlds.export", description=__doc__)
    parser.add_argument("trained", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--world", choices=tuple(WORLDS), default="scene")
    arguments = parser.parse_args()
    digest = export_half(WORLDS[arguments.world], arguments.trained, arguments.out)
    Console().print(f"sha256 of the weights: {digest}", soft_wrap=True)


if __name__ == "__main__":
    main()
