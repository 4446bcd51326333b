"""The command line: ``lime-xai`` and ``python -m lime_xai``.

Each command is a file of this package. Modules that import torch are imported inside the commands, so that ``--help``
answers at once.
"""

from __future__ import annotations

import typer

from .attribute import attribute
from .audit import audit
from .common import console
from .compare import compare
from .conformance import conformance
from .demo import demo
from .steer import steer
from .world import world_app

app = typer.Typer(
    help="Relevance and steering of multimodal language models.", no_args_is_help=True, add_completion=False
)
for command in (demo, attribute, steer, audit, conformance, compare):
    app.command()(command)
app.add_typer(world_app, name="world")


def main() -> None:
    """Run the command line; errors of input are one line, not a traceback."""
    try:
        app()
    except (ValueError, TypeError, OSError, FloatingPointError) as error:
        console.print(f"[red]error:[/red] {error}", highlight=False)
        raise SystemExit(2) from error
