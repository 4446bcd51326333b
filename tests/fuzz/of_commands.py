"""Calls of the command line, in the process, on the bundled model."""

import json
import os

import torch
from PIL import Image
from typer.testing import CliRunner

from .draw import Call

QUESTION = "is there a cup in the image ?"
STATUS = (0, 2)
"""Done, and bad input; 70 would be a fault of this package."""


def _files(folder):
    """Write what commands read, once."""
    good, broken = folder / "scene.png", folder / "broken.png"
    if not good.exists():
        Image.effect_noise((64, 64), 80).convert("RGB").save(good)
        broken.write_bytes(good.read_bytes()[:200])
    return str(good), str(broken)


def command(draw, folder):
    """One ``lime-xai`` command; a few arguments are wrong."""
    good, broken = _files(folder)
    name = draw.choice(("attribute", "attribute", "steer", "steer", "audit", "help", "unknown", "compare", "world"))
    options = _options(draw, folder, good, broken).get(name, [])
    given = list(options)
    for option, values in _MORE.get(name, {}).items():
        if draw.chance(0.25):
            given += [option, str(draw.choice(values))] if values else [option]
    if draw.chance(0.1):
        given.insert(
            draw.randrange(len(given) + 1), draw.choice(("--nonsense", "[/bold]", "", "--seed", "-1", "\x1b[31m"))
        )
    draw.note(" ".join(map(repr, given)))

    def run():
        from lime_xai.command.app import app

        threads, here = torch.get_num_threads(), os.getcwd()
        os.chdir(folder)
        try:
            return CliRunner().invoke(app, given)
        finally:
            os.chdir(here)
            torch.set_num_threads(threads)

    def check(found):
        assert found.exit_code in STATUS, found.output
        assert "Traceback" not in found.output
        if found.exit_code:
            errors = [line for line in found.stderr.splitlines() if line.startswith("error: ")]
            assert len(errors) == 1, found.stderr
            assert len(errors[0]) > 20
        else:
            assert found.stdout.strip()

    def outcome(found):
        return f"refused: exit status {found.exit_code}" if found.exit_code else "returned"

    return Call(f"lime-xai {name}", run, check, samples=True, outcome=outcome)


def _options(draw, folder, good, broken):
    picture = draw.choices((good, broken, str(folder / "none.png"), str(folder)), (85, 5, 5, 5))[0]
    model = draw.choices(("scene", str(folder), "no/such", "Scene"), (88, 4, 4, 4))[0]
    prompt = draw.choices((QUESTION, "", "[/b] cup", "describe the image ."), (70, 5, 5, 20))[0]
    shown = [] if draw.chance(0.05) else ["--image", picture]
    return {
        "attribute": ["attribute", model, *shown, "--prompt", prompt, "--threads", "1"],
        "steer": ["steer", model, *shown, "--prompt", prompt, "--threads", "1", "--max-new-tokens", "3"],
        "audit": ["audit", model],
        "help": draw.choice((["--help"], ["--version"], ["-h"], [], ["steer", "--help"], ["world", "-h"])),
        "unknown": [draw.choice(("explain", "atribute", "--nonsense", "plot"))],
        "compare": ["compare", "--methods", draw.choice(("nonsense", "attnlrp,attnlpr"))],
        "world": ["world", "--scenes", "1", "--policies", draw.choice(("nonsense", "edit,edti"))],
    }


_MORE = {
    "attribute": {
        "--target": ("yes", "no", "", "zebra", "[/b]"),
        "--against": ("no", "zebra"),
        "--method": ("cplrp", "gradient_input", "saliency", "nonsense", '{"method": "attnlrp"}', "{", '{"method": 3}'),
        "--out": ("a.png", "a.txt", ".", "none/a.png"),
        "--save": ("a.safetensors", "a.json", "none/a.safetensors"),
        "--json": ("a.json", "a", "none/a.json"),
        "--device": ("cpu", "cuda", "nonsense", "meta"),
        "--dtype": ("auto", "float32", "nonsense", "bfloat16"),
        "--system": ("you are a cat",),
        "--audio": ("none.wav",),
        "--threads": (0, -1, 1, "x"),
    },
    "steer": {
        "--policy": (
            "plausible",
            "contrast",
            "uniform_gain",
            "nonsense",
            json.dumps({"policy": "Edit", "steps": 1}),
            json.dumps({"policy": "Edit", "steps": -1}),
            "{",
            "plausible,contrast",
            ",",
        ),
        "--calibration": ("none.safetensors", "scene.png"),
        "--max-new-tokens": (0, 1, "x", 4),
        "--sample": (),
        "--seed": (1, -1, 2**70, "x"),
        "--trace": (),
        "--json": ("b.json", "b.png"),
        "--device": ("cpu", "cuda"),
        "--dtype": ("float32", "nonsense"),
    },
    "audit": {"--threads": (1,)},
}
