"""For the tutorial on photographs: where the parts lie, or a notebook that skips its other cells and says why."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any, Final

from .__main__ import FOLDER
from .packages import found

VARIABLE: Final = "LIME_PHOTOGRAPHS"
"""Environment variable: the folder of the parts, by default ``FOLDER`` in the repository; empty: use none, skip."""
SKIPPED: Final = "Skipped: the first cell says why."
_ROOT: Final = Path(__file__).parents[2]


def missing(folder: Path, name: str) -> str | None:
    """Return why the tutorial cannot run, or None if everything is there.

    Parameters
    ----------
    folder : Path
        Of the parts and, below ``models``, of assembled models.
    name : str
        Of the model.
    """
    if importlib.util.find_spec("sklearn") is None:
        return "scikit-learn is not installed: pip install -e '.[photographs]'"
    try:
        found(folder)
    except FileNotFoundError as error:
        return str(error).partition(";")[0]
    if not (folder / "models" / name / "config.json").is_file():
        return f"{folder / 'models'} has no model {name}"
    return None


def parts_or_skip(name: str = "seed0") -> tuple[Path, Path]:
    """Return the folder of the parts and that of a model; where something is missing, skip the other cells.

    The reason is printed, with the two commands that get the parts and assemble the model. Every cell that is run after
    that prints ``SKIPPED`` in place of its own output, until a cell with ``parts_or_skip`` is run again.

    Parameters
    ----------
    name : str
        Of the model: of trained weights in the repository.

    Returns
    -------
    (Path, Path)
        Also where they are missing.

    Raises
    ------
    FileNotFoundError
        If something is missing and this is no notebook, whose cells can be skipped.
    """
    given = os.environ.get(VARIABLE)
    folder = Path(given) if given else _ROOT / FOLDER
    shell = _shell()
    if shell is not None:
        shell.input_transformers_cleanup[:] = [one for one in shell.input_transformers_cleanup if one is not skipping]
    reason = f"{VARIABLE} is empty, which means: without parts" if given == "" else missing(folder, name)
    if reason is not None:
        option = f" --folder {given}" if given else ""
        text = (
            f"{reason}.\nThese two commands, in the root of the repository, get the parts and assemble the model:\n\n"
            f"    python -m benchmarks.photographs parts{option}\n"
            f"    python -m benchmarks.photographs assemble {name}{option}\n"
        )
        if shell is None:
            raise FileNotFoundError(text)
        print(f"The other cells are skipped, because {text}\nThen run this cell again.")
        shell.input_transformers_cleanup.append(skipping)
    return folder, folder / "models" / name


def skipping(lines: list[str]) -> list[str]:
    """Return the source of a cell that prints ``SKIPPED``; a cell that calls ``parts_or_skip`` is left as it is."""
    return lines if any(parts_or_skip.__name__ in line for line in lines) else [f"print({SKIPPED!r})\n"]


def _shell() -> Any:
    """Return the IPython that runs this, None outside of one."""
    if importlib.util.find_spec("IPython") is None:
        return None
    from IPython import get_ipython

    return get_ipython()
