"""Compare attribution methods on questions about photographs, whose masks are exact."""

import argparse
from pathlib import Path

from rich.console import Console

from lime_xai.command.run_compare import run_compare

from .scenes import DIFFICULTIES
from .world import EVALUATED, open_world

METHODS = "attnlrp,cplrp,gradient_input,saliency,attention_rollout,tam"
METRICS = "deletion,insertion,pointing,mass,rank,perceptual_share,residual,seconds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, the methods, and what they are measured on."""
    parser.add_argument("model", help="a folder that assemble made, or a name in protocol.json")
    parser.add_argument("--methods", default=METHODS, help="separated by commas; others are compared with the first")
    parser.add_argument("--metrics", default=METRICS, help="as those of `lime-xai compare`")
    parser.add_argument("--replacement", default="mean,blur", help="as that of `lime-xai compare`")
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--seed", type=int, default=5, help="of the scenes; not one used for tuning")
    parser.add_argument("--difficulty", choices=tuple(DIFFICULTIES), default=EVALUATED)
    parser.add_argument("--json", type=Path, help="report; an interrupted run resumes from it")
    parser.add_argument("--csv", type=Path, help="means and intervals")


def run(arguments: argparse.Namespace) -> None:
    """Compare, print the tables and write the files."""
    world = open_world(arguments.folder, arguments.difficulty)
    run_compare(
        Console(),
        arguments.model,
        arguments.methods.split(","),
        arguments.metrics.split(","),
        arguments.replacement.split(","),
        arguments.questions,
        arguments.seed,
        {"json": arguments.json, "csv": arguments.csv},
        world.name,
    )
