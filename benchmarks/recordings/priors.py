"""What SmolLM2 takes for granted about the recordings' names, asked without a sound."""

import argparse
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.photographs.packages import OF_RECORDINGS, found
from benchmarks.photographs.priors import first_named, follows, paired
from benchmarks.photographs.weights import language_model
from lime_xai.storage.store import write_json
from lime_xai.storage.weights import weights_hash

from .catalogue import CLASSES
from .language import CAPTION_REQUEST, PRIORS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--out", type=Path, default=PRIORS)


def run(arguments: argparse.Namespace) -> None:
    """Ask the language model, write the file and print the pairs."""
    torch.set_num_threads(1)
    model, tokenizer = language_model(found(arguments.folder, OF_RECORDINGS))
    pairs = paired(follows(model, tokenizer, CLASSES, CAPTION_REQUEST))
    named = [(CLASSES[a], CLASSES[b]) for a, b in pairs]
    popularity = first_named(model, tokenizer, CLASSES, CAPTION_REQUEST)
    write_json(arguments.out, {"model": weights_hash(model), "pairs": named, "popularity": popularity})
    console = Console()
    console.print("; ".join(f"{a}, {b}" for a, b in named), highlight=False)
    console.print(f"written: {arguments.out}", highlight=False)
