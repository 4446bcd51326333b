"""Which number of a word tells invented objects from seen ones, in captions of photographs."""

import argparse
from pathlib import Path

from benchmarks.grounding import SEED, measure
from lime_xai.command.loading import check_device
from lime_xai.worlds.shared.models import load_frozen

from .scenes import DIFFICULTIES
from .world import EVALUATED, open_world


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, and what it is measured on."""
    parser.add_argument("model", help="a folder that assemble made, or a name in protocol.json")
    parser.add_argument("--seed", type=int, default=SEED, help="of the scenes; not one used for tuning")
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--difficulty", choices=tuple(DIFFICULTIES), default=EVALUATED)
    parser.add_argument("--json", type=Path, required=True, help="report")
    parser.add_argument("--device", help="by default the CPU")


def run(arguments: argparse.Namespace) -> None:
    """Explain captions, print the table and write the report."""
    check_device(arguments.device)
    world = open_world(arguments.folder, arguments.difficulty)
    model, processor = load_frozen(world, arguments.model)
    model.to(arguments.device or "cpu")
    measure(model, processor, world.evaluation_set(seed=arguments.seed, scenes=arguments.scenes), arguments.json)
