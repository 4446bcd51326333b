"""Running `lime-xai world` in tests."""

import io
import json

from rich.console import Console

from lime_xai.command.run_world import run_world

TUNED = {"paper": 0.02, "paper_cache": 0.03, "uniform_gain": 0.7, "yes_shift": -1.5}
"""Settings as a tuning chooses them."""


def strict_json(text):
    """Read JSON that holds no NaN and no infinity."""

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def command_line(folder, names, **kwargs):
    """Measure policies with the model of a folder on one scene; return what is printed."""
    console = Console(file=io.StringIO(), width=100)
    settings = {"name": "scene", "seed": 3, "scenes": 1, "model_name": str(folder)} | kwargs
    run_world(console, names=names, **settings)
    return console.file.getvalue()
