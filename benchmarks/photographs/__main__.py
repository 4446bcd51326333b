"""``python -m benchmarks.photographs COMMAND``; ``--help`` lists the commands."""

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from lime_xai.printing import foreign

from .packages import DownloadError

COMMANDS = {
    "whole": ".whole",
    "parts": ".parts",
    "assemble": ".assemble",
    "features": ".features",
    "probe": ".probe",
    "priors": ".priors",
    "train": ".training",
    "accept": ".accept",
    "policies": ".policies",
    "errors": ".errors",
    "answers": ".answers",
    "detect": ".detect",
    "compare": ".compare",
    "attention": ".attention",
    "gallery": ".gallery",
}
"""Module of each command: it has ``add_arguments(parser)`` and ``run(arguments)``, and its docstring is the help.

``run`` may return the exit status; None is success."""
FOLDER = Path("build/photographs")
"""Where the parts lie, and what is made of them; not in the repository."""


def build_parser(
    name: str | None = None,
    commands: Mapping[str, str] = COMMANDS,
    package: str = "benchmarks.photographs",
    about: str = "A model of public parts that describes photographs.",
    folder: Path = FOLDER,
) -> argparse.ArgumentParser:
    """Return the parser of all commands of a package; only the module of ``name`` is imported for its arguments."""
    parser = argparse.ArgumentParser(prog=f"python -m {package}", description=about)
    added_to = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in commands:
        if name not in (None, command):
            continue
        module = importlib.import_module(commands[command], package)
        told = (module.__doc__ or "").strip()
        added = added_to.add_parser(command, help=told.splitlines()[0], description=told)
        added.add_argument("--folder", type=Path, default=folder, help=f"where the parts lie (default: {folder})")
        module.add_arguments(added)
    return parser


def main(argv: Sequence[str] | None = None, *of_package: Any) -> int:
    """Run a command; a mistake of the user's is one message, not a traceback.

    Parameters
    ----------
    argv : sequence of str, optional
        By default those of the process.
    *of_package
        Commands and what follows, as ``build_parser`` takes them; by default those of this package.
    """
    commands, package = of_package[:2] or (COMMANDS, "benchmarks.photographs")
    given = list(sys.argv[1:] if argv is None else argv)
    name = given[0] if given and given[0] in commands else None
    arguments = build_parser(name, *of_package).parse_args(given)
    try:
        status: int | None = importlib.import_module(commands[arguments.command], package).run(arguments)
    except (ValueError, FileExistsError, FileNotFoundError, DownloadError) as error:
        Console(stderr=True).print(foreign(error), soft_wrap=True)
        return 1
    return status or 0


if __name__ == "__main__":
    sys.exit(main())
