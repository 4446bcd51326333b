"""How near ``lime_xai.estimate_memory`` comes to the truth: ``python -m benchmarks.memory``.

The truth is the largest sum of what torch's allocator holds during an answer, with weights: by torch's profiler on the
CPU, by ``torch.cuda.max_memory_allocated`` with ``--device cuda``. It
does not depend on how busy the machine is. ``--fit`` measures the small random LLaVAs of ``FITTED``, and writes the
factors of ``lime_xai/evaluation/cost/memory_factors.json``; without it, models that had no part in the fit are
measured: the bundled one and random ones of other shapes; ``--models`` chooses among them, and knows those of
``random_models.SHAPES`` too, such as ``7b``. Writes ``benchmarks/results/memory.csv``.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.optimize import nnls

from lime_xai import Contrast, Edit, Reweight
from lime_xai.decoding.policy import Policy
from lime_xai.evaluation.cost.alternating import Generation
from lime_xai.evaluation.cost.generations import generation
from lime_xai.evaluation.cost.memory import estimate_memory
from lime_xai.evaluation.cost.peak import peak_bytes
from lime_xai.evaluation.cost.sizes import Sizes, kind_of, weight_bytes
from lime_xai.worlds import example

from .random_models import SHAPES, Shape, prompt_of, random_llava

RESULTS = Path(__file__).parent / "results"
FACTORS = Path(__file__).parents[1] / "lime_xai" / "evaluation" / "cost" / "memory_factors.json"
BUNDLED = "bundled"
TOKENS = 3
"""Tokens of an answer: the peak comes with the first or the last."""

FITTED = (
    Shape(64, 176, 2, 4, 4, image=40, text=20, vocabulary=500),
    Shape(64, 400, 2, 4, 2, image=160, text=40, vocabulary=2000),
    Shape(128, 176, 2, 8, 2, image=240, text=60, vocabulary=1000),
    Shape(96, 128, 4, 2, 2, image=200, text=80, vocabulary=4000),
    Shape(192, 640, 3, 6, 3, image=100, text=30, vocabulary=8000),
    Shape(64, 96, 3, 16, 4, image=320, text=40, vocabulary=300),
    Shape(256, 512, 2, 4, 1, image=80, text=120, vocabulary=600),
    Shape(128, 1024, 4, 4, 4, image=120, text=60, vocabulary=300),
    Shape(128, 256, 1, 8, 4, image=240, text=40, vocabulary=1000),
    Shape(64, 160, 12, 4, 2, image=120, text=30, vocabulary=500),
    Shape(32, 64, 8, 4, 4, image=180, text=40, vocabulary=200),
)
"""Small decoders that differ in every size."""

CHECKED = {
    "random, 6 layers": Shape(320, 900, 6, 10, 5, image=280, text=60, vocabulary=3000),
    "random, 9 layers": Shape(96, 320, 9, 6, 2, image=140, text=40, vocabulary=1500),
    "wide, 2 layers": Shape(2048, 5632, 2, 32, 16, image=300, text=100),
}
"""Decoders of other sizes, by name."""

POLICIES: tuple[Policy | None, ...] = (
    None,
    Contrast(),
    Contrast("slot"),
    Contrast("noise"),
    Reweight(),
    Reweight(relevance="full"),
    Edit(),
    Edit(direction="backward"),
    Edit.paper("cache"),
    Edit.paper(),
)


def measured(model: Any, inputs: Mapping[str, Any], policy: Policy | None, tokens: int = TOKENS) -> int:
    """Return the largest number of bytes that torch's allocator holds during an answer, less what it holds before."""
    return measured_of(model, generation(inputs, policy, tokens))


def measured_of(model: Any, run: Generation) -> int:
    """Return the same of an answer that a function gives.

    One answer is given before, so that what is done once per model is not counted.
    """
    run(model, lambda: None)
    if model.device.type == "cuda":
        before = torch.cuda.memory_allocated(model.device)
        return peak_bytes(model.device, lambda: run(model, lambda: None)) - before
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profiler:
        run(model, lambda: None)
    events = [one for one in profiler.profiler.kineto_results.events() if one.name() == "[memory]"]
    ordered = sorted(events, key=lambda one: one.start_ns())
    return max(accumulate(one.nbytes() for one in ordered))


def quick(policy: Policy | None) -> Policy | None:
    """Return a policy with two steps: further ones keep nothing more."""
    return policy if not isinstance(policy, Edit) else replace(policy, steps=2)


def fit(dtype: torch.dtype) -> dict[str, dict[str, float]]:
    """Return bytes per number of each feature, by kind of policy: non-negative least squares of relative errors."""
    peaks: dict[str, list[int]] = {}
    rows: dict[str, list[list[int]]] = {}
    names: dict[str, tuple[str, ...]] = {}
    for shape in track(FITTED, f"measuring in {dtype}"):
        model = random_llava(shape, dtype=dtype)
        inputs = prompt_of(model, shape)
        features = Sizes.of(model, inputs, TOKENS).features()
        for policy in POLICIES:
            kind, names_of = kind_of(policy)
            names[kind] = names_of
            peaks.setdefault(kind, []).append(measured(model, inputs, quick(policy)))
            rows.setdefault(kind, []).append([features[name] for name in names_of])
    found = {}
    for kind, values in peaks.items():
        scale = np.asarray(values, dtype=np.float64)
        factors, _ = nnls(np.asarray(rows[kind], dtype=np.float64) / scale[:, None], np.ones(len(scale)))
        errors = np.asarray(rows[kind]) @ factors / scale - 1
        print(f"{kind}: errors of the fit {np.round(100 * errors).astype(int).tolist()} %")
        found[kind] = {name: round(float(factor), 4) for name, factor in zip(names[kind], factors, strict=True)}
    return found


def subjects(names: Sequence[str], device: str, dtype: torch.dtype) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """Make models that had no part in the fit one after another: name, model, prompt."""
    for name in names:
        if name == BUNDLED:
            model, _, inputs = example()
            given = {
                key: value.to(device, dtype if value.is_floating_point() else None) for key, value in inputs.items()
            }
            yield name, model.to(device, dtype), given
        else:
            shape = {**CHECKED, **SHAPES}[name]
            other = random_llava(shape, device, dtype)
            yield name, other, prompt_of(other, shape)


def check(names: Sequence[str], device: str, dtype: torch.dtype) -> list[dict[str, Any]]:
    """Return estimates beside what was measured, with weights and without."""
    found = []
    for name, model, inputs in subjects(names, device, dtype):
        weights = weight_bytes(model)
        for policy in track(POLICIES, name):
            estimate = estimate_memory(model, inputs, policy, max_new_tokens=TOKENS)
            truth = measured(model, inputs, quick(policy))
            found.append(
                {
                    "model": name,
                    "dtype": str(dtype).removeprefix("torch."),
                    "policy": kind_of(policy)[0],
                    "measured_MB": (truth + weights) / 1e6,
                    "estimated_MB": estimate.total / 1e6,
                    "error": estimate.total / (truth + weights) - 1,
                    "error_without_weights": (estimate.total - weights) / truth - 1,
                }
            )
    return found


def worst(path: Path) -> str:
    """Return, for each kind of policy, the largest error with weights and without, as a Markdown table."""
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lines = ["| policy | largest error | without weights |", "| --- | ---: | ---: |"]
    for kind in dict.fromkeys(row["policy"] for row in rows):
        own = [row for row in rows if row["policy"] == kind]
        errors = [max((float(row[name]) for row in own), key=abs) for name in ("error", "error_without_weights")]
        lines.append(f"| {kind} | {errors[0]:+.0%} | {errors[1]:+.0%} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Fit, or check; print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", action="store_true", help="write the factors")
    parser.add_argument("--table", action="store_true", help="only print the table of RESULTS.md from the CSV file")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--models", help="names, separated by semicolons; those that had no part in the fit by default")
    parser.add_argument("--label", default="", help="added to the name of the CSV file")
    arguments = parser.parse_args(argv)
    path = RESULTS / f"memory{arguments.label}.csv"
    names = arguments.models.split(";") if arguments.models else [BUNDLED, *CHECKED]
    unknown = [name for name in names if name not in (BUNDLED, *CHECKED, *SHAPES)]
    if unknown:
        parser.error(f"--models names {', '.join(unknown)}; known are {'; '.join((BUNDLED, *CHECKED, *SHAPES))}")
    if arguments.table:
        print(worst(path))
        return
    torch.set_num_threads(1)
    dtypes = [getattr(torch, name) for name in arguments.dtypes.split(",")]
    if arguments.fit:
        found = {str(dtype).removeprefix("torch."): fit(dtype) for dtype in dtypes}
        FACTORS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        return
    rows = [row for dtype in dtypes for row in check(names, arguments.device, dtype)]
    where = torch.cuda.get_device_name() if arguments.device == "cuda" else "CPU"
    table = Table(*rows[0], title=f"estimates of peak memory, {where}, torch {torch.__version__}")
    for row in rows:
        table.add_row(
            *(
                f"{value:.1f}" if "MB" in key else f"{value:+.0%}" if "error" in key else value
                for key, value in row.items()
            )
        )
    Console(width=140).print(table)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)


if __name__ == "__main__":
    main()
