"""``lime-xai draw-ids``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .files import Output, check_outputs
from .screen import console


def draw_ids(
    instances: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="Annotations of COCO, instances_val2014.json for example.")
    ],
    out: Annotated[Path, typer.Option(help="List to write, .txt; one that is there is kept, and refused.")],
    number: Annotated[int, typer.Option(min=1, help="Images.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Of the drawing.")] = 0,
) -> None:
    """Draw images of COCO for CHAIR, and write their ids as a list that a result can name."""
    check_outputs([Output("--out", out, (".txt",))], [instances])
    from lime_xai.evaluation.benchmarks.protocols.coco import draw_ids as drawn

    found = drawn(instances, out, number, seed)
    console.print(f"{len(found)} ids: {out}", soft_wrap=True)
