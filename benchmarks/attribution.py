"""What an attribution costs, in forward passes: ``python benchmarks/attribution.py --model wide``.

One round times a forward pass over the prompt (the decoder and the last position's logits) and every attribution once;
ratios are within the round, medians with quartiles over rounds. ``attribute`` also encodes the picture, to record
the decoder's arguments; that is part of its cost. Writes ``benchmarks/results/attribution_MODEL.csv``, or with a label
behind the model's name.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from steering import RESULTS, setting, write

import lime_xai

FORWARD = "forward pass"


def runs(found: Any, answer: int) -> dict[str, Callable[[], Any]]:
    """Return what is timed, by name."""
    model = found.model
    inputs = found.prompt(1)
    ids = torch.arange(20, 20 + answer, device=model.device)[None]

    def forward() -> Any:
        with torch.no_grad():
            return model(**inputs, use_cache=True, logits_to_keep=1)

    def one(method: str) -> Callable[[], Any]:
        return lambda: lime_xai.attribute(model, inputs, method=method)

    return {
        FORWARD: forward,
        **{f"attribute, {method}": one(method) for method in ("attnlrp", "cplrp", "gradient_input")},
        f"attribute, answer of {answer}": lambda: lime_xai.attribute(model, inputs, ids, per_token=False),
        "routes, full form": lambda: lime_xai.routes(model, inputs),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Measure one model; print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mid")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--answer", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--label", default="", help="added to the name of the CSV file")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    found = setting(arguments.model, arguments.device, getattr(torch, arguments.dtype))
    timed = runs(found, arguments.answer)
    for run in timed.values():
        run()
    spent: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(arguments.rounds):
        for name, run in timed.items():
            start = time.perf_counter()
            run()
            if arguments.device == "cuda":
                torch.cuda.synchronize()
            spent[name].append(time.perf_counter() - start)
    where = torch.cuda.get_device_name() if arguments.device == "cuda" else f"CPU, {arguments.threads} thread(s)"
    about = f"{arguments.model}, {arguments.dtype}, {where}, torch {torch.__version__}"
    table, rows = Table("", "ratio to a forward pass", title=about), {}
    for name, times in spent.items():
        ratios = [own / base for own, base in zip(times, spent[FORWARD], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        rows[name] = {"median": middle, "low": low, "high": high, "rounds": len(ratios)}
        table.add_row(name, f"{middle:.2f} [{low:.2f}, {high:.2f}]")
    Console().print(table)
    write(RESULTS / f"attribution_{arguments.model}{arguments.label}.csv", rows, about)


if __name__ == "__main__":
    main()
