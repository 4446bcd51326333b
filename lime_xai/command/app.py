"""The command line: ``lime-xai`` and ``python -m lime_xai``.

Each command is a file of this package. Modules that import torch are imported inside the commands, so that ``--help``
answers at once.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .attribute import attribute
from .audit import audit
from .compare import compare
from .conformance import conformance
from .demo import demo
from .draw import draw_ids
from .evaluate import evaluate, score
from .explain import explain
from .export import export_custom_generate
from .ground import ground
from .plot import plot
from .reproduce import reproduce_app
from .screen import console, fail, literal_output, notices
from .steer import steer
from .world import world_app

INPUT_ERRORS = (ValueError, TypeError, OSError, FloatingPointError, NotImplementedError, ImportError, MemoryError)
"""What the package and its libraries raise for input that they refuse."""

_OF_LIBRARIES = ("OutOfMemoryError", "SafetensorError")
"""Errors of input in libraries that are imported late, by name: torch's for memory, and that of damaged weights."""

INTERNAL = 70
"""Exit status for an error that is none of the user's (``EX_SOFTWARE``)."""

_ClickError: Any = typer.BadParameter.__mro__[2]  # click's ClickException, of which newer typer has its own copy


class Commands(TyperGroup):
    """The commands; errors are one line on standard error, with exit status 2 for bad input."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command and leave the process with its exit status."""
        with literal_output():
            raise SystemExit(
                self._status(args, prog_name, complete_var, False, windows_expand_args, **extra)  # errors come here
            )

    def _status(self, *args: Any, **extra: Any) -> int:
        try:
            return int(super().main(*args, **extra) or 0)
        except _ClickError as error:
            path = getattr(getattr(error, "ctx", None), "command_path", "lime-xai")
            fail(f"{error.format_message()} ({path} --help lists the options.)")
            return 2
        except typer.Abort:
            fail("aborted")
            return 130
        except INPUT_ERRORS as error:
            fail(str(error) or type(error).__name__)
            return 2
        except Exception as error:
            if type(error).__name__ in _OF_LIBRARIES:
                fail(f"{type(error).__name__}: {error}")
                return 2
            notices.print(traceback.format_exc(), soft_wrap=True)
            fail(f"{type(error).__name__}: {error} (This is a fault of lime_xai or of a library; please report it.)")
            return INTERNAL


app = typer.Typer(
    cls=Commands,
    help="Relevance and steering of multimodal language models.",
    invoke_without_command=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        console.print(f"lime-xai {version('lime_xai')}")
        raise typer.Exit()


@app.callback()
def start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Relevance and steering of multimodal language models."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


_COMMANDS = (
    demo,
    attribute,
    explain,
    plot,
    steer,
    audit,
    conformance,
    compare,
    evaluate,
    score,
    ground,
    draw_ids,
    export_custom_generate,
)
for command in _COMMANDS:
    app.command()(command)
app.add_typer(reproduce_app, name="reproduce")
app.add_typer(world_app, name="world")


def main() -> None:
    """Run the command line."""
    app()
