"""Options of the commands that measure one model on evaluation pictures, and what they open."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from lime_xai.command.loading import check_device
from lime_xai.evaluation.bootstrap import bounded
from lime_xai.storage.store import check_writable, number, write_json
from lime_xai.storage.weights import weights_hash
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
        For a device, model or parts that are not there, or a report that cannot be written.
    """
    check_device(arguments.device)
    check_writable(arguments.json)
    world = open_world(arguments.folder, arguments.difficulty)
    model, processor = load_frozen(world, arguments.model)
    model.to(arguments.device or "cpu")
    return model, processor, world.evaluation_set(seed=arguments.seed, scenes=arguments.scenes)


def report_means(
    arguments: argparse.Namespace,
    model: Any,
    title: str,
    found: Mapping[str, tuple[float, float, float]],
    rows: Mapping[str, Any],
) -> None:
    """Print means with their intervals, and write them with what they are of.

    Parameters
    ----------
    arguments : Namespace
        What ``add_measured`` declares.
    model : object
        Named in the report by the hash of its weights.
    title : str
        Of the table.
    found : mapping of str to (float, float, float)
        Mean and interval by measure.
    rows : mapping
        What the means are of; JSON-ready, beside them in the report.
    """
    table = Table(title=title, box=SIMPLE_HEAD)
    table.add_column("measure")
    table.add_column("value", justify="right")
    for name, values in found.items():
        table.add_row(name, bounded(*values))
    Console().print(table)
    about = {"model": weights_hash(model), "seed": arguments.seed, "scenes": arguments.scenes}
    summary = {name: [number(value, 17) for value in values] for name, values in found.items()}  # JSON has no NaN
    write_json(arguments.json, {**about, "difficulty": arguments.difficulty, "summary": summary, **rows})
