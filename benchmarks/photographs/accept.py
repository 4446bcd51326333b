"""Measure assembled models against the criteria of photographs, with intervals; status 1 if one is missed."""

import argparse
from pathlib import Path

from rich.console import Console

from lime_xai.command.run_world import run_accept

from .scenes import DIFFICULTIES
from .world import EVALUATED, open_world


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the models, and what they are measured on."""
    parser.add_argument("models", nargs="+", help="folders that assemble made, or names in protocol.json")
    parser.add_argument("--seed", type=int, help="of the scenes; by default the protocol's for acceptance")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--difficulty", choices=tuple(DIFFICULTIES), default=EVALUATED)
    parser.add_argument("--json", type=Path, help="report; other models in it are kept")
    parser.add_argument("--device", help="by default the CPU")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print a table for each model and write the report; return 1 if a criterion is missed, and 0 if not."""
    world = open_world(arguments.folder, arguments.difficulty)
    met = run_accept(
        Console(),
        world.name,
        arguments.models,
        arguments.seed,
        arguments.scenes,
        arguments.json,
        arguments.device,
    )
    return 0 if met else 1
