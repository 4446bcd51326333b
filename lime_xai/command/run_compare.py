"""What ``lime-xai compare`` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from lime_xai.attribution.methods.lookup import as_method
from lime_xai.evaluation.attributions.compare import compare_attributions
from lime_xai.evaluation.attributions.world import world_examples
from lime_xai.storage.store import check_writable
from lime_xai.worlds import load_world
from lime_xai.worlds.shared.models import load_frozen

from .screen import notices


def run_compare(
    console: Console,
    model_name: str,
    methods: Sequence[str],
    metrics: Sequence[str] | None,
    replacements: Sequence[str],
    questions: int,
    seed: int,
    files: Mapping[str, Path | None],
    world_name: str = "scene",
) -> None:
    """Compare attribution methods on a model of a world; print tables and write files.

    Parameters
    ----------
    console : rich.console.Console
        Printed to.
    model_name : str
        A frozen model's name or a folder.
    methods, metrics, replacements : sequence of str
        As in ``compare_attributions``.
    questions, seed : int
        As in ``world_examples``.
    files : mapping of str to Path or None
        Any of ``json`` (an interrupted run resumes from it), ``csv``, ``latex``, ``plot``.
    world_name : str
        Of the world.

    Raises
    ------
    ValueError
        For unknown names, or a JSON file of another comparison.
    """
    for path in files.values():
        if path is not None:
            check_writable(path)
    for method in methods:
        as_method(method)  # unknown names are refused before a model is loaded
    model, processor = load_frozen(load_world(world_name), model_name)
    found = compare_attributions(
        model,
        world_examples(processor, questions, seed, world_name),
        methods,
        metrics,
        processor=processor,
        replacement=replacements,
        out=files.get("json"),
        progress=notices,
    )
    console.print(found.table())
    if (path := files.get("csv")) is not None:
        found.to_csv(path)
    if (path := files.get("latex")) is not None:
        found.to_latex(path)
    if (path := files.get("plot")) is not None:
        found.plot().savefig(path, dpi=150)
    for kind, path in files.items():
        if path is not None:
            console.print(f"{kind}: {path}", soft_wrap=True)
