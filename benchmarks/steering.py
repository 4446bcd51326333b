"""What a steered token costs, in plain ones: ``python benchmarks/steering.py --model wide``.

All generations of a run are alternated token by token on weights that they share (``lime_xai.evaluation.cost``), so
that a busy machine slows all of them; with ``--apart`` whole generations take turns, for a machine that nothing else
uses. Ratios are of a token to the plain token of the same round; medians with quartiles are over rounds. Writes
``benchmarks/results/steering_MODEL.csv``.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from random_models import SHAPES, prompt_of, random_llava
from rich.console import Console
from rich.table import Table

from lime_xai import Calibration, Constant, Contrast, Edit, Reweight, UniformGain
from lime_xai.decoding.policy import Policy
from lime_xai.evaluation.cost.alternating import alternate, in_turn
from lime_xai.evaluation.cost.generations import PLAIN, Ratios, generation
from lime_xai.evaluation.cost.peak import peak_bytes
from lime_xai.model.replay import Replayer
from lime_xai.storage.weights import weights_hash
from lime_xai.stream.adjoint_check import verified_engine
from lime_xai.worlds import bundled_model, load_world

RESULTS = Path(__file__).parent / "results"
TWO = "two sequences"
COLUMNS = ("median", "low", "high", "first", "rounds")


@dataclass(frozen=True)
class Setting:
    """A model and a prompt of ``rows`` equal rows."""

    model: Any
    prompt: Callable[[int], Mapping[str, Any]]


def setting(name: str, device: str, dtype: torch.dtype) -> Setting:
    """Return the model called ``name`` and its prompt."""
    if name == "bundled":
        model, processor = bundled_model()
        scenes = load_world("scene").evaluation_set(seed=900, scenes=1)

        def ask(rows: int) -> Mapping[str, Any]:
            images = [[scenes.images[0]]] * rows
            found = processor(images=images, text=[scenes.caption_prompt] * rows, return_tensors="pt")
            moved: Mapping[str, Any] = found.to(device)
            return moved

        return Setting(model.to(device, dtype), ask)
    shape = SHAPES[name]
    model = random_llava(shape, device, dtype)
    return Setting(model, lambda rows: prompt_of(model, shape, rows))


def policies(model: Any) -> dict[str, Policy]:
    """Return everything that is measured, by name."""
    config = model.config.get_text_config()
    gains = torch.full((config.num_hidden_layers, config.num_key_value_heads), 0.1)
    made_up = Calibration(weights_hash(model), "direct", 1, 1, torch.zeros(config.vocab_size), {"image": gains})
    return {
        "constant gains": Constant(made_up),
        "uniform gain": UniformGain(),
        "contrast, slot": Contrast("slot"),
        "contrast, noise": Contrast("noise"),
        "contrast, blind": Contrast(),
        "reweight, direct": Reweight(),
        "reweight, direct, backward": Reweight(direction="backward"),
        "reweight, full": Reweight(relevance="full"),
        "gain, 1 step": Edit(steps=1),
        "gain, 2 steps": Edit(steps=2),
        "free, cache, 7 steps": Edit.paper("cache"),
        "free, sequence, 7 steps": Edit.paper("sequence"),
    }


def measure(
    found: Setting, wanted: Mapping[str, Policy], tokens: int, threads: int, apart: bool = False
) -> tuple[dict[str, dict[str, float]], float]:
    """Return, by name, median and quartiles of the ratio to a plain token, the ratio of the first, and rounds.

    The second value is the median time of a plain token, in milliseconds.
    """
    one = found.prompt(1)
    runs = {PLAIN: generation(one, None, tokens), TWO: generation(found.prompt(2), None, tokens)}
    runs |= {name: generation(one, policy, tokens) for name, policy in wanted.items()}

    def prepare(name: str, twin: Any) -> None:
        if any(policy.needs.contributions for policy in wanted.values()):
            verified_engine(Replayer(twin), "direct")

    times = in_turn(found.model, runs, prepare) if apart else alternate(found.model, runs, threads, prepare)
    plain, rows = times[PLAIN], {}
    for name, own in times.items():
        ratios = asdict(Ratios.of(own, plain))
        rows[name] = {column: float(ratios[column]) for column in COLUMNS}
    return rows, 1e3 * statistics.median(plain.tokens)


def peak_memory(name: str, policy: str, tokens: int, arguments: argparse.Namespace) -> float:
    """Return the largest amount of memory that a generation takes, in megabytes, in a process of its own."""
    command = [sys.executable, __file__, "--model", name, "--tokens", str(tokens), "--peak-of", policy]
    command += ["--device", arguments.device, "--dtype", arguments.dtype]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.strip().splitlines()[-1])


def print_peak(found: Setting, name: str, tokens: int) -> None:
    """Generate once and print the peak meanwhile, weights included: allocated on a device, resident on the CPU."""
    known: dict[str, Policy | None] = {PLAIN: None, **policies(found.model)}
    run = generation(found.prompt(1), known[name], tokens)
    print(peak_bytes(found.model.device, lambda: run(found.model, lambda: None)) / 1e6)


def floor(hidden: int, inner: int, dtype: torch.dtype, rounds: int = 31) -> dict[int, float]:
    """Return what a linear layer costs with 2 and 3 rows, in calls with one: the floor of adding rows."""
    weights = [torch.randn(inner, hidden).to(dtype) for _ in range(6)]
    spent: dict[int, list[float]] = {rows: [] for rows in (1, 2, 3)}
    for _ in range(rounds):
        for rows, times in spent.items():
            x = torch.randn(rows, 1, hidden).to(dtype)
            start = time.perf_counter()
            for weight in weights:
                torch.nn.functional.linear(x, weight)
            times.append(time.perf_counter() - start)
    one = statistics.median(spent[1])
    return {rows: statistics.median(times) / one for rows, times in spent.items()}


def show(title: str, rows: Mapping[str, Mapping[str, float]], console: Console) -> None:
    """Print ratios as a table."""
    table = Table("", "ratio to a plain token", "first token", "peak memory", "rounds", title=title)
    for name, row in rows.items():
        ratio = f"{row['median']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
        peak = f"{row['peak']:.2f}" if "peak" in row else ""
        table.add_row(name, ratio, f"{row['first']:.2f}", peak, f"{row['rounds']:.0f}")
    console.print(table)


def write(path: Path, rows: Mapping[str, Mapping[str, float]], about: str) -> None:
    """Write ratios as CSV, with a first line that says where they come from."""
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {about}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("name", *COLUMNS, "peak"))
        for name, row in rows.items():
            writer.writerow((name, *(f"{row.get(column, float('nan')):.4g}" for column in (*COLUMNS, "peak"))))


def main(argv: Sequence[str] | None = None) -> None:
    """Measure one model; print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=("bundled", *SHAPES), default="wide")
    parser.add_argument("--tokens", type=int, default=32, help="tokens per generation: one more than rounds")
    parser.add_argument("--only", help="names, separated by semicolons; all by default")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--memory", action="store_true", help="also measure peak memory, one process each")
    parser.add_argument("--apart", action="store_true", help="whole generations in turn; for a GPU")
    parser.add_argument("--label", default="", help="added to the name of the CSV file")
    parser.add_argument("--floor", action="store_true", help="only print what 2 and 3 rows cost in one linear layer")
    parser.add_argument("--peak-of", help="only print the peak memory, in MB, of one generation under this name")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    if arguments.floor:
        shape = SHAPES["wide"]
        for rows, ratio in floor(shape.hidden, shape.inner, getattr(torch, arguments.dtype)).items():
            print(f"a linear layer {shape.hidden} -> {shape.inner} with {rows} rows: {ratio:.2f} calls with one")
        return
    found = setting(arguments.model, arguments.device, getattr(torch, arguments.dtype))
    if arguments.peak_of:
        print_peak(found, arguments.peak_of, arguments.tokens)
        return
    known = policies(found.model)
    names = arguments.only.split(";") if arguments.only else list(known)
    wanted = {name: known[name] for name in names}
    rows, spent = measure(found, wanted, arguments.tokens, arguments.threads, arguments.apart)
    if arguments.memory:
        plain = peak_memory(arguments.model, PLAIN, arguments.tokens, arguments)
        for name in names:
            rows[name]["peak"] = peak_memory(arguments.model, name, arguments.tokens, arguments) / plain
    where = torch.cuda.get_device_name() if arguments.device == "cuda" else f"CPU, {arguments.threads} thread(s)"
    about = (
        f"{arguments.model}, {arguments.dtype}, {where}, torch {torch.__version__}, a plain token takes {spent:.3g} ms"
    )
    show(about, rows, Console())
    write(RESULTS / f"steering_{arguments.model}{arguments.label}.csv", rows, about)


if __name__ == "__main__":
    main()
