"""Measure how well features tell objects apart: ``python -m benchmarks.photographs probe``.

A language model can name no object that these features do not tell from the others. So this says, for each difficulty,
whether scenes are feasible before a model is trained. The exact tokens of each object are given to the probe, which a
model has to find.

With ``--layers`` it says how well each layer of the encoder tells objects apart, on scenes of the training difficulty.
Training uses what the first ``weights.LAYERS`` layers give.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from lime_xai.storage.store import check_writable, write_json

from .catalogue import CLASSES, Catalogue, catalogue
from .features import BATCH, FeatureCache, Tower, encoder, features_of, pixel_values, training_scene
from .packages import found
from .scenes import DIFFICULTIES, GRID, PhotoScene, masks, tokens_of

FIRST_SCENE: Final = 10_000_000
"""Number of the first scene that is probed: beyond all training scenes of its seed."""
SEED: Final = 0
"""Of the scenes from which each layer is probed."""
SMALL: Final = 1000
"""Objects with fewer visible pixels than this, two per cent of the picture, are counted as small."""


@dataclass(frozen=True, eq=False)
class Objects:
    """Objects of scenes, one per row.

    Attributes
    ----------
    vectors : numpy.ndarray
        Mean feature of the tokens of each, float32 of shape [N, D].
    classes, tints, pixels : numpy.ndarray
        Class index, index of the tint (-1 for own colours), and number of visible pixels; integers of shape [N].
    """

    vectors: NDArray[np.float32]
    classes: NDArray[np.int64]
    tints: NDArray[np.int64]
    pixels: NDArray[np.int64]


def objects_of(scenes: Sequence[PhotoScene], features: Tensor, stamps: Catalogue) -> Objects:
    """Return the objects of scenes with what the encoder gives for their tokens, features [B, 256, D]."""
    return _objects(scenes, token_features(features), stamps)


def _objects(scenes: Sequence[PhotoScene], tokens: Tensor, stamps: Catalogue) -> Objects:
    """Return the objects of scenes with the means of features of their tokens, float32 [B, 64, D]."""
    vectors, facts = [], []
    for scene, row in zip(scenes, tokens.numpy(), strict=True):
        for placed, mask in zip(scene.objects, masks(scene, stamps), strict=True):
            vectors.append(row[list(tokens_of(mask))].mean(0))
            facts.append((placed.obj, -1 if placed.tint is None else placed.tint, int(mask.sum())))
    classes, tints, pixels = np.asarray(facts, np.int64).T
    return Objects(np.stack(vectors), classes, tints, pixels)


def token_features(features: Tensor) -> Tensor:
    """Return the mean of the four patches of each image token: [B, 256, D] to float32 [B, 64, D]."""
    grid = features.float().reshape(len(features), GRID, 2, GRID, 2, -1)
    means: Tensor = grid.mean((2, 4)).flatten(1, 2)
    return means


def scores(known: Objects, fresh: Objects) -> dict[str, float]:
    """Return accuracies on fresh objects of probes that were fitted on known ones.

    Parameters
    ----------
    known, fresh : Objects
        Of training scenes, and of others.

    Returns
    -------
    dict of str to float
        ``centroid`` and ``linear`` (logistic regression): share of objects whose class is found, by features that are
        standardised. ``linear_small`` and ``linear_tinted``: the latter for small and for tinted objects. ``colour``:
        share of tinted objects whose tint a logistic regression finds. ``objects`` and ``small``: how many there are.
        NaN where there are none.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import NearestCentroid
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def hits(classifier: Any, training: NDArray[np.bool_], target: str) -> NDArray[np.bool_]:
        probe = make_pipeline(StandardScaler(), classifier)
        probe.fit(known.vectors[training], getattr(known, target)[training])
        right: NDArray[np.bool_] = probe.predict(fresh.vectors) == getattr(fresh, target)
        return right

    def share(right: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
        return float(right[among].mean()) if among.any() else float("nan")

    every, small, tinted = np.ones(len(fresh.classes), bool), fresh.pixels < SMALL, fresh.tints >= 0
    all_known = np.ones(len(known.classes), bool)
    linear = hits(LogisticRegression(C=0.05, max_iter=300), all_known, "classes")
    colour = hits(LogisticRegression(C=0.05, max_iter=300), known.tints >= 0, "tints")
    return {
        "centroid": share(hits(NearestCentroid(), all_known, "classes"), every),
        "linear": share(linear, every),
        "linear_small": share(linear, small),
        "linear_tinted": share(linear, tinted),
        "colour": share(colour, tinted),
        "objects": len(every),
        "small": int(small.sum()),
    }


def fresh_objects(tower: Tower, stamps: Catalogue, difficulty: str, scenes: int, seed: int) -> Objects:
    """Return the objects of scenes that no training has seen."""
    drawn = [training_scene(seed, FIRST_SCENE + index, stamps, difficulty) for index in range(scenes)]
    features = features_of(tower, [picture for _, picture in drawn])
    return objects_of([scene for scene, _ in drawn], features, stamps)


def layer_scores(model: Any, stamps: Catalogue, known: int, scenes: int, seed: int) -> dict[int, dict[str, float]]:
    """Return ``scores`` of what each layer of an encoder gives, by the number of layers that have been run.

    Parameters
    ----------
    model : object
        The encoder with all its layers.
    stamps : Catalogue
        What scenes hold.
    known, scenes : int
        How many training scenes are fitted on, and how many others are asked about.
    seed : int
        Of the scenes.
    """
    first = [*range(known), *range(FIRST_SCENE, FIRST_SCENE + scenes)]
    drawn = [training_scene(seed, index, stamps) for index in first]
    made: list[list[Tensor]] = []
    for start in track(range(0, len(drawn), BATCH), "pictures"):
        with torch.inference_mode():
            pixels = pixel_values([picture for _, picture in drawn[start : start + BATCH]])
            states = model(pixel_values=pixels, output_hidden_states=True).hidden_states[1:]
        made.append([token_features(state[:, 1:]).half() for state in states])  # without the class token
    placed = [scene for scene, _ in drawn]
    found = {}
    for layer, parts in enumerate(track(list(zip(*made, strict=True)), "layers"), start=1):
        tokens = torch.cat(parts).float()
        fitted, fresh = (
            _objects(some, tokens[part], stamps)
            for some, part in ((placed[:known], slice(known)), (placed[known:], slice(known, None)))
        )
        found[layer] = scores(fitted, fresh)
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how many scenes are used, and where numbers go."""
    parser.add_argument("--features", type=Path, help="what the command features wrote (FOLDER/features)")
    parser.add_argument("--known", type=int, default=800, help="training scenes to fit on (default: 800)")
    parser.add_argument("--scenes", type=int, default=120, help="fresh scenes of each difficulty (default: 120)")
    parser.add_argument("--layers", action="store_true", help="probe every layer of the encoder instead")
    parser.add_argument("--out", type=Path, help="JSON file for the numbers")


def run(arguments: argparse.Namespace) -> None:
    """Fit probes and print their accuracy: for each difficulty on cached features, or for each layer."""
    if arguments.layers and arguments.features is not None:
        raise ValueError("--layers computes features of every layer itself; give it or --features")
    if arguments.out is not None:
        check_writable(arguments.out)
    from .weights import DEPTH, tower  # imports the models, which a refused argument need not wait for

    torch.set_num_threads(1)
    parts, console = found(arguments.folder), Console()
    about = {"known_scenes": arguments.known, "scenes": arguments.scenes, "classes": len(CLASSES)}
    if arguments.layers:
        stamps = catalogue(parts.stamps)
        layers = layer_scores(tower(parts, DEPTH), stamps, arguments.known, arguments.scenes, SEED)
        rows = {str(layer): row for layer, row in layers.items()}
        _report(console, "layers run", rows, arguments.out, about)
        return
    cache = FeatureCache(arguments.features or arguments.folder / "features", arguments.known)
    model, stamps = encoder(tower(parts)), catalogue(parts.stamps)
    with console.status("objects of cached scenes"):
        known = objects_of(cache.scenes, cache.batch(range(len(cache))), stamps)
    results: dict[str, dict[str, Any]] = {}
    for name in DIFFICULTIES:
        with console.status(name):
            fresh = fresh_objects(model, stamps, name, arguments.scenes, cache.identity["seed"])
            results[name] = {**scores(known, fresh), "difficulty": asdict(DIFFICULTIES[name])}
    _report(console, "difficulty", results, arguments.out, about)


def _report(
    console: Console, corner: str, results: Mapping[str, Mapping[str, Any]], out: Path | None, about: Mapping[str, int]
) -> None:
    """Print what probes find, one row for each result, and write it if there is a file for it."""
    table = Table(corner, "nearest centroid", "linear", f"under {SMALL} pixels", "tinted", "colour", "objects")
    for name, row in results.items():
        shown = (f"{row[key]:.2f}" for key in ("centroid", "linear", "linear_small", "linear_tinted", "colour"))
        table.add_row(name, *shown, f"{row['objects']} ({row['small']} small)")
    console.print(table)
    if out is not None:
        write_json(out, {**about, "results": results})
