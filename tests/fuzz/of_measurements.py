"""Calls that measure: ``calibrate``, ``compare_attributions`` and ``deletion_curves``."""

import math
from collections.abc import Mapping

import torch
from rich.console import Console

import lime_xai

from .draw import Call
from .models import drawn_subject
from .of_models import drawn_mode, drawn_model, drawn_target, shape_of
from .prompts import drawn_inputs

METRICS = ("delta_a", "deletion", "perceptual_share", "residual", "agreement", "passes", "randomisation")
REGIONS = ("mass", "pointing", "rank")


def drawn_path(draw, folder, ending):
    """Return where to write: mostly a file, sometimes what is there already, damaged or no place for a file."""
    kind = draw.choice(("file", "file", "damaged", "folder", "no folder", "text"))
    draw.note(f"path: {kind}")
    path = folder / f"{draw.number}{ending}"
    if kind == "damaged":
        path.write_bytes(bytes(draw.randrange(256) for _ in range(draw.randrange(60))))
    return {"folder": folder, "no folder": folder / "none" / "file", "text": str(path)}.get(kind, path)


def calibrate(draw, folder):
    """``calibrate``."""
    subject = drawn_subject(draw)
    prompts = [drawn_inputs(draw, subject, wrong=0.2) for _ in range(draw.choice((1, 1, 2)))]
    model = drawn_model(draw, subject)
    listed = draw.junk() if draw.chance(0.05) else (iter(prompts) if draw.chance(0.1) else list(prompts))
    path = drawn_path(draw, folder, ".safetensors") if draw.chance(0.2) else None
    table = {
        "relevance": ("direct", "full"),
        "direction": ("forward", "backward", "auto"),
        "gains": (True, False),
        "edit": (None, lime_xai.Edit(steps=1), lime_xai.Edit(steps=0), lime_xai.Edit(deltas="free", steps=1)),
        "progress": (True,),
    }
    given = {"max_new_tokens": draw.choice((1, 2)), "progress": False, "path": path, **draw.some(table, most=2)}
    draw.note(f"{given}")

    def run():
        return lime_xai.calibrate(model, listed, **given)

    def check(found):
        assert found.prompts == sum(shape_of(one)[0] for one in prompts)
        assert found.mean_contribution.isfinite().all()
        assert found.steps >= 1
        if path is not None:
            assert lime_xai.Calibration.load(path) == found
        if given.get("gains", True):
            for gain in found.gains.values():
                assert gain.shape[0] == subject.layers

    def plain():
        for inputs in prompts:
            given = inputs.inputs if isinstance(inputs, lime_xai.Prompt) else inputs
            subject.model.generate(**given, max_new_tokens=1)

    return Call("calibrate", run, check, "", subject, prompts, plain, generates=True, mode=drawn_mode(draw))


def _perceived(inputs, rows, length):
    """Return the first two positions ``[B, T]`` of the most frequent token: a placeholder."""
    ids = inputs.get("input_ids") if isinstance(inputs, Mapping) else None
    if not isinstance(ids, torch.Tensor) or ids.dim() != 2 or ids.is_meta or not ids.numel():
        return torch.zeros(rows, length, dtype=torch.bool)
    same = ids == ids[0].mode().values
    return same & (same.long().cumsum(-1) <= 2)


def compare_attributions(draw, folder):
    """``compare_attributions``."""
    subject = drawn_subject(draw)
    inputs = drawn_inputs(draw, subject, wrong=0.3)
    model, target = drawn_model(draw, subject), drawn_target(draw, shape_of(inputs)[0])
    cheap = ("attnlrp", "gradient_input", "cplrp", "saliency", "attention_rollout", "tam", "nonsense")
    methods = (
        draw.sample(cheap[:-1], k=draw.choice((1, 2))) if draw.chance(0.9) else draw.choice((cheap[-1], draw.junk()))
    )
    regions = draw.chance(0.5)
    metrics = draw.sample([*METRICS, *(REGIONS if regions else ())], k=draw.choice((1, 2)))
    if draw.chance(0.1):
        metrics = draw.choice(("nonsense", ["mass"], draw.junk()))
    rows, length = shape_of(inputs)
    table = {
        "replacement": ("deletion", "mean", ("deletion", "zero"), "blur", "silence", "nonsense"),
        "seed": (0, 5),
        "rows_per_pass": (1, 8, 64),
        "out": (folder / f"{draw.number}.json", folder, folder / "none" / "file.json"),
        "progress": (False,),
    }
    given = {"progress": False, **draw.some(table, most=2)}
    if regions:
        seen = _perceived(inputs, rows, length)
        wrong = (draw.flags(rows, length), torch.ones(length, dtype=torch.bool), seen.to("meta"), draw.junk())
        given["truth"] = draw.choice(wrong) if draw.chance(0.2) else seen
    dataset = (
        [lime_xai.Example(inputs, cluster=draw.choice((None, 3, "scene")))]
        if draw.chance(0.2) and isinstance(inputs, dict | lime_xai.Prompt)
        else inputs
    )
    draw.note(f"{methods} {metrics} {given}")

    def run():
        return lime_xai.compare_attributions(model, dataset, methods, metrics, target=target, **given)

    def check(found):
        named = [methods] if isinstance(methods, str) else list(methods)
        assert found.methods == tuple(named)
        for method in found.methods:
            for values in found.values[method].values():
                assert values.shape == (rows,)
        Console(quiet=True).print(found.table())
        assert lime_xai.Comparison.of(found.to_dict()) == lime_xai.Comparison.of(found.to_dict())

    def plain():
        given = inputs.inputs if isinstance(inputs, lime_xai.Prompt) else inputs
        subject.model.generate(**given, max_new_tokens=1)

    return Call("compare_attributions", run, check, "", subject, inputs, plain, mode=drawn_mode(draw))


def deletion_curves(draw, folder):
    """``deletion_curves``."""
    subject = drawn_subject(draw)
    inputs = drawn_inputs(draw, subject, wrong=0.3)
    model, target = drawn_model(draw, subject), drawn_target(draw, shape_of(inputs)[0])
    cheap = ("attnlrp", "gradient_input", "saliency", "tam")
    methods = draw.sample(cheap, k=draw.choice((1, 2))) if draw.chance(0.9) else draw.choice(("nonsense", draw.junk()))
    table = {
        "replacement": ("deletion", "mean", "zero", "blur", "nonsense"),
        "seed": (0, 5),
        "rows_per_pass": (1, 8, 64),
    }
    given = draw.some(table, most=2)
    draw.note(f"{methods} {given}")

    def run():
        return lime_xai.deletion_curves(model, inputs, methods, target=target, **given)

    def check(found):
        assert set(found.areas) == set(methods)
        assert all(math.isfinite(area) for area in found.areas.values())
        assert len(found.frame()) == 3 * len(found.areas) * len(found.shares)

    def plain():
        given = inputs.inputs if isinstance(inputs, lime_xai.Prompt) else inputs
        subject.model.generate(**given, max_new_tokens=1)

    return Call("deletion_curves", run, check, "", subject, inputs, plain, mode=drawn_mode(draw))
