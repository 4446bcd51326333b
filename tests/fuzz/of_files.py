"""Calls that make, save and read results: ``Attribution``, ``Calibration``, ``Comparison``."""

import copy
import json
from pathlib import Path

import torch
from PIL import Image
from rich.console import Console

import lime_xai

from .draw import NAN, Call
from .of_measurements import drawn_path

FILES = (FileNotFoundError, IsADirectoryError)


def damaged(draw, path):
    """Change a file: cut it, exchange bytes, empty it, delete it, or leave it."""
    data = bytearray(path.read_bytes())
    kind = draw.choice(("same", "same", "cut", "bytes", "empty", "gone", "more", "text"))
    draw.note(f"file: {kind}")
    if kind == "cut":
        data = data[: draw.randrange(len(data))]
    elif kind == "bytes":
        for _ in range(draw.choice((1, 1, 8))):
            data[draw.randrange(len(data))] = draw.randrange(256)
    elif kind == "empty":
        data = bytearray()
    elif kind == "more":
        data += bytes([draw.randrange(256)])
    elif kind == "text":
        data = bytearray(b'{"a": 1}')
    path.write_bytes(data)
    if kind == "gone":
        path.unlink()
    return kind


def drawn_attribution(draw):
    """Return what an attribution consists of; a share has a part that does not fit."""
    rows, count, length = draw.randrange(1, 3), draw.randrange(3), draw.randrange(6, 10)
    answer = (rows, count) if count else (rows,)
    parts = {
        "relevance": draw.numbers(*answer, length),
        "input_ids": draw.ids(rows, length),
        "target_ids": draw.ids(rows, max(count, 1)),
        "logits": draw.numbers(*answer),
        "attended": torch.ones(rows, length, dtype=torch.bool),
        "spans": [[lime_xai.Span("text", 0, 1), lime_xai.Span("image", 1, 5), lime_xai.Span("text", 5, length)]] * rows,
        "method": "attnlrp",
        "tokens": None if draw.chance(0.5) else [[f"[/{i}]" for i in range(length)]] * rows,
    }
    if draw.chance(0.15):
        name = draw.choice(list(parts))
        value = parts[name]
        cut = value[..., :-1] if isinstance(value, torch.Tensor) else draw.junk()
        parts[name] = draw.choice((cut, draw.junk()))
        draw.note(f"{name} {parts[name]!r:.60}")
    return parts


def attribution(draw, folder):
    """``Attribution``: its constructor, ``save`` and ``load``."""
    parts = drawn_attribution(draw)
    path = folder / f"{draw.number}.safetensors"
    target = drawn_path(draw, folder, ".safetensors") if draw.chance(0.2) else path

    def run():
        made = lime_xai.Attribution(**parts)
        made.save(target)
        kind = damaged(draw, path) if target == path else "same"
        return made, kind, lime_xai.Attribution.load(target)

    def check(found):
        made, kind, loaded = found
        assert made == loaded, f"a file that was changed ({kind}) was read as another"

    return Call("Attribution: save and load", run, check, errors=FILES)


def attribution_methods(draw):
    """``Attribution.plot``, ``text``, ``row``, ``mask``, ``shares``, ``residual``."""
    parts = drawn_attribution(draw)
    name = draw.choice(("plot", "text", "row", "mask", "shares", "residual", "repr"))
    rows = 1 if not isinstance(parts["relevance"], torch.Tensor) else len(parts["relevance"])
    table = {
        "plot": {
            "row": (0, rows - 1, rows, -1, True),
            "image": (None, Image.new("RGB", (30, 20)), [Image.new("L", (8, 8))], [], "nonsense"),
            "grid": (None, (2, 2), (1, 4), [(2, 2)], (3, 3), (0, 4), (2,), [(2, 2), (1, 1)]),
            "title": (None, "a [/b] title"),
        },
        "text": {"row": (0, rows), "width": (None, 40, 1, 0, -5), "grid": (None, (2, 2), (5, 5))},
        "row": {"index": (0, rows, -1, 0.0)},
        "mask": {"modality": ("image", "text", "smell")},
    }
    given = draw.some(table.get(name, {}), wrong=0.2)
    required = {"row": {"index": 0}, "mask": {"modality": "image"}}.get(name, {})
    draw.note(f"{name} {given!r:.120}")

    def run():
        made = lime_xai.Attribution(**parts)
        if name == "repr":
            return repr(made)
        found = getattr(made, name)
        return found(**{**required, **given}) if callable(found) else found

    def check(found):
        if name == "text":
            Console(quiet=True).print(found)
        if name == "plot":
            found.canvas.draw()
        if name == "mask":
            assert found.shape == parts["attended"].shape

    return Call("Attribution: methods", run, check)


def calibration(draw, folder):
    """``Calibration``: its constructor, ``save``, ``load``, ``merged`` and ``check``."""
    values = draw.numbers(draw.randrange(1, 6))
    parts = {
        "weights": draw.choice(("0" * 64, "")),
        "relevance": draw.choice(("direct", "full")),
        "prompts": draw.choice((0, 1, 5)),
        "steps": draw.choice((0, 1, 9)),
        "mean_contribution": values,
        "gains": draw.choice(({}, {"image": draw.numbers(2, 2)})),
        "settings": draw.choice(("{}", "")),
    }
    if draw.chance(0.3):
        name = draw.choice(list(parts))
        wrong = (draw.junk(), {"image": draw.junk()}, values * NAN, values.double(), values[None])
        parts[name] = draw.choice(wrong)
        draw.note(f"{name} {parts[name]!r:.60}")
    path = folder / f"{draw.number}.safetensors"
    target = drawn_path(draw, folder, ".safetensors") if draw.chance(0.2) else path
    other = replaced(draw, parts)

    def run():
        made = lime_xai.Calibration(**parts).save(target)
        kind = damaged(draw, path) if target == path else "same"
        loaded = lime_xai.Calibration.load(target)
        return made, kind, loaded, loaded.merged(lime_xai.Calibration(**other))

    def check(found):
        made, kind, loaded, merged = found
        assert made == loaded, f"a file that was changed ({kind}) was read as another"
        assert hash(made) == hash(loaded)
        assert merged.steps == made.steps + other["steps"]
        assert merged.mean_contribution.isfinite().all()

    return Call("Calibration: save, load, merge", run, check, errors=FILES)


def replaced(draw, parts):
    """Return parts of a second calibration, mostly of the same kind."""
    if draw.chance(0.7):
        return parts
    mean = draw.choice((draw.numbers(9), torch.zeros(0)))
    return parts | draw.choice(({"mean_contribution": mean}, {"gains": {"audio": draw.numbers(1, 1)}}, {"steps": 0}))


def _good_comparison(draw):
    methods, columns = ["a", "b"][: draw.choice((1, 2))], ["delta_a", "delta_a@mean", "mass", "seconds"]
    rows = [
        {
            "cluster": draw.choice((f"{i}.0", i)),
            "values": {m: {c: draw.choice((None, draw.random(), 0.0)) for c in columns} for m in methods},
        }
        for i in range(draw.randrange(1, 4))
    ]
    header = {"methods": methods, "metrics": columns, "seed": 0, "replacements": ["deletion", "mean"]}
    return {
        "format": 1,
        "header": header,
        "examples": [{"digest": str(i), "rows": [row]} for i, row in enumerate(rows)],
    }


def _changed(draw, data):
    """Change one value somewhere in nested data."""
    place = data
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = draw.choice(keys)
        if isinstance(place[key], dict | list) and place[key] and draw.chance(0.8):
            place = place[key]
            continue
        if draw.chance(0.3):
            del place[key]
        else:
            place[key] = draw.choice((None, 3, "x", [], {}, True, -1.5, NAN, draw.junk()))
        draw.note(f"changed {key!r}")
        return


def comparison(draw, folder):
    """``Comparison``: ``of``, files, tables and figures."""
    data = _good_comparison(draw)
    if draw.chance(0.4):
        _changed(draw, data)
    name = draw.choice(("table", "frame", "to_csv", "to_json", "to_latex", "to_latex", "best", "values", "plot"))
    path = drawn_path(draw, folder, ".json" if name == "to_json" else ".csv")
    table = {"metrics": (None, ["delta_a"], [], ["nonsense"], "mass"), "path": (None, path)}
    given = draw.some(table, most=2) if name == "to_latex" else {}
    column = draw.choice(("delta_a", "mass", "nonsense", draw.junk()))
    draw.note(f"{name} {given!r:.80}")

    def run():
        made = lime_xai.Comparison.of(data)
        if name in ("to_csv", "to_json"):
            return made, getattr(made, name)(path)
        if name == "best":
            return made, made.best(column)
        found = getattr(made, name)
        return made, found(**given) if callable(found) else found

    def check(found):
        made, value = found
        assert made == lime_xai.Comparison.of(copy.deepcopy(data))
        if name == "table":
            Console(quiet=True).print(value)
        if name == "plot":
            value.canvas.draw()
        if name == "to_json":
            assert lime_xai.Comparison.from_json(path) == made
            json.loads(Path(path).read_text())

    return Call("Comparison", run, check, inputs=data, errors=FILES)
