"""Options of the commands that measure one model on evaluation pictures, and what they open."""

import argparse
from pathlib import Path
from typing import Any

from lime_xai.command.loading import check_device
from lime_xai.worlds.shared.evaluation import EvaluationSet
from lime_xai.worlds.shared.models import load_frozen

from .scenes import DIFFICULTIES
from .world import EVALUATED, open_world


def add_measured(parser: argparse.ArgumentParser, seed: int) -> None:
    """Add the model, what it is measured on, and the report; ``seed`` is that of the scenes unless another is given."""
    parser.add_argument("model", help="a folder that assemble made, or a name in protocol.json")
    parser.add_argument("--seed", type=int, default=seed, help="of the scenes; not one used for tuning")
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--difficulty", choices=tuple(DIFFICULTIES), default=EVALUATED)
    parser.add_argument("--json", type=Path, required=True, help="report")
    parser.add_argument("--device", help="by default the CPU")


def open_measured(arguments: argparse.Namespace) -> tuple[Any, Any, EvaluationSet]:
    """Return the model on its device, its processor, and what it is measured on.

    Raises
    ------
    ValueError, FileNotFoundError
        For a device, model or parts that are not there.
    """
    check_device(arguments.device)
    world = open_world(arguments.folder, arguments.difficulty)
    model, processor = load_frozen(world, arguments.model)
    model.to(arguments.device or "cpu")
    return model, processor, world.evaluation_set(seed=arguments.seed, scenes=arguments.scenes)
