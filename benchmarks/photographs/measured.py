"""Options of the commands that measure one model on evaluation pictures, and what they open."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from lime_xai.command.loading import check_device
from lime_xai.evaluation.bootstrap import bounded, estimate, resampling_weights
from lime_xai.storage.store import check_writable, number, write_json
from lime_xai.storage.weights import weights_hash
from lime_xai.worlds.shared.evaluation import EvaluationSet
from lime_xai.worlds.shared.metrics import Floats, mean_over_scenes
from lime_xai.worlds.shared.models import load_frozen

from .scenes import DIFFICULTIES
from .world import EVALUATED, open_world

FEWEST: Final = 5
"""Scenes of which a mean is shown with an interval."""
Pairs = Sequence[tuple[int, float | None]]
"""The scene of each value that a mean is of, and the value; None where it is not known."""


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


def mean_known(pairs: Pairs, weights: Floats) -> Floats:
    """Return means of the values that are known over weighted samples of scenes.

    Parameters
    ----------
    pairs : sequence of (int, float or None)
        As ``Pairs``.
    weights : numpy.ndarray
        Weight of each scene in each of R samples, shape [R, S].

    Returns
    -------
    numpy.ndarray
        Shape [R]; NaN for a sample without any.
    """
    known = [(scene, value) for scene, value in pairs if value is not None]
    scenes = np.array([scene for scene, _ in known], np.int64)
    return mean_over_scenes(np.array([value for _, value in known], np.float64), scenes, weights)


def means(groups: Mapping[str, Pairs], scenes: int) -> dict[str, tuple[float, float, float]]:
    """Return the mean of each group with its 95 % bootstrap interval over scenes, of which there are so many."""
    weights = resampling_weights(scenes)
    return {title: estimate(mean_known(pairs, weights)) for title, pairs in groups.items()}


def differences(
    groups: Mapping[str, Pairs], pairs: Mapping[str, tuple[str, str]], scenes: int
) -> dict[str, tuple[float, float, float]]:
    """Return the mean of a group less that of another one with its 95 % bootstrap interval over scenes, by title.

    Parameters
    ----------
    groups : mapping of str to Pairs
        What means are taken of.
    pairs : mapping of str to (str, str)
        By title the group, and the one whose mean is subtracted.
    scenes : int
        How many there are.
    """
    weights = resampling_weights(scenes)
    return {
        title: estimate(mean_known(groups[first], weights) - mean_known(groups[second], weights))
        for title, (first, second) in pairs.items()
    }


def counted(groups: Mapping[str, Pairs]) -> dict[str, tuple[int, int]]:
    """Return of how many values that are known each mean is, and from how many scenes they come."""
    known = {title: [scene for scene, value in pairs if value is not None] for title, pairs in groups.items()}
    return {title: (len(scenes), len(set(scenes))) for title, scenes in known.items()}


def bounded_or_few(values: Sequence[float | None], scenes: int | None) -> str:
    """Return a mean with its interval; alone if it is of fewer than ``FEWEST`` scenes, which cannot be resampled."""
    value, low, high = values
    return bounded(value, low, high) if scenes is None or scenes >= FEWEST else bounded(value)


def report_means(
    arguments: argparse.Namespace,
    model: Any,
    title: str,
    found: Mapping[str, tuple[float, float, float]],
    rows: Mapping[str, Any],
    counts: Mapping[str, tuple[int, int]] = MappingProxyType({}),
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
    counts : mapping of str to (int, int)
        Of how many values a mean is, and of how many scenes, where that is counted; written, and the first printed.
    """
    table = Table(title=title, box=SIMPLE_HEAD)
    table.add_column("measure")
    table.add_column("value", justify="right")
    table.add_column("values", justify="right")
    for name, values in found.items():
        count, scenes = counts.get(name, ("", None))
        table.add_row(name, bounded_or_few(values, scenes), str(count))
    Console().print(table)
    about = {"model": weights_hash(model), "seed": arguments.seed, "scenes": arguments.scenes}
    summary = {name: [number(value, 17) for value in values] for name, values in found.items()}  # JSON has no NaN
    found_in = {**about, "difficulty": arguments.difficulty, "summary": summary, "counts": dict(counts)}
    write_json(arguments.json, found_in | dict(rows))
