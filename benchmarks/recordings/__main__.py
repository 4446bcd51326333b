"""``python -m benchmarks.recordings COMMAND``; ``--help`` lists the commands."""

import sys
from collections.abc import Sequence

from benchmarks.photographs.__main__ import FOLDER
from benchmarks.photographs.__main__ import main as run_command

COMMANDS = {
    "parts": ".parts",
    "assemble": ".assemble",
    "priors": ".priors",
    "train": ".training",
    "measure": ".measure",
}
"""Module of each command, as those of ``benchmarks.photographs``, whose parts lie in the same folder."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; a mistake of the user's is one message, not a traceback."""
    about = "A model of public parts that hears recordings; an experiment."
    return run_command(argv, COMMANDS, "benchmarks.recordings", about, FOLDER)


if __name__ == "__main__":
    sys.exit(main())
