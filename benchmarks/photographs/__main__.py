"""``python -m benchmarks.photographs COMMAND``; ``--help`` lists the commands."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from rich.console import Console

from lime_xai.printing import foreign

from .packages import DownloadError

COMMANDS = {
    "parts": ".parts",
    "assemble": ".assemble",
    "features": ".features",
    "probe": ".probe",
    "priors": ".priors",
    "train": ".training",
    "accept": ".accept",
    "policies": ".policies",
    "errors": ".errors",
    "detect": ".detect",
    "compare": ".compare",
    "attention": ".attention",
    "gallery": ".gallery",
}
"""Module of each command: it has ``add_arguments(parser)`` and ``run(arguments)``, and its docstring is the help."""
FOLDER = Path("build/photographs")
"""Where the parts lie, and what is made of them; not in the repository."""


def build_parser(name: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all commands; only the module of ``name`` is imported for its arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.photographs", description="A model of public parts that describes photographs."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        if name not in (None, command):
            continue
        module = _module(command)
        about = (module.__doc__ or "").strip()
        added = commands.add_parser(command, help=about.splitlines()[0], description=about)
        added.add_argument("--folder", type=Path, default=FOLDER, help=f"where the parts lie (default: {FOLDER})")
        module.add_arguments(added)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; a mistake of the user's is one message, not a traceback."""
    given = list(sys.argv[1:] if argv is None else argv)
    name = given[0] if given and given[0] in COMMANDS else None
    arguments = build_parser(name).parse_args(given)
    try:
        _module(arguments.command).run(arguments)
    except (ValueError, FileExistsError, FileNotFoundError, DownloadError) as error:
        Console(stderr=True).print(foreign(error), soft_wrap=True)
        return 1
    return 0


def _module(command: str) -> ModuleType:
    return importlib.import_module(COMMANDS[command], __package__)


if __name__ == "__main__":
    sys.exit(main())
