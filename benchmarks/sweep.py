"""What the weight of the divergence does, and what is edited: ``python -m benchmarks.sweep`` (figure 5 of the paper).

The paper's form of an edit (``Edit.paper``) with every weight lambda of the KL term, on keys, on values and on both, on
the scene world. The learning rate of each of the three is chosen first, on a tuning seed with the paper's lambda; what
is drawn was measured on a confirmation seed. Writes ``benchmarks/results/sweep.json`` after every result, so that an
interrupted run resumes, then ``sweep.md``, and the figure as PDF and PNG with its numbers as CSV. A file that is
complete is drawn again in seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.sweep_figure import sweep_figure, sweep_page
from lime_xai.decoding.policy import Policy
from lime_xai.evaluation.benchmarks.sweep import EDITED, Edited, sweep_name, sweep_policy
from lime_xai.evaluation.bootstrap import Floats, estimate, resampling_weights
from lime_xai.evaluation.policies.world import timed_captions
from lime_xai.generation.steer import steering
from lime_xai.policies.edit import Edit
from lime_xai.policies.registry import policy_to_dict
from lime_xai.storage.store import check_identity, check_writable, number, read_json, write_json, write_text
from lime_xai.storage.weights import weights_hash
from lime_xai.worlds import load_world, scene
from lime_xai.worlds.shared.closed import closed_values
from lime_xai.worlds.shared.models import load_frozen, protocol

RESULTS = Path(__file__).parent / "results"
LAMBDAS = (0.0, 0.1, 1.0, 10.0, 100.0)
PAPER_LAMBDA = 0.1
RATES = (0.003, 0.01, 0.03, 0.1)
"""Learning rates that are tried; the paper's 3e-4 is for a model a thousand times as large."""
SPLIT = "dialogue"
"""Of the closed questions: that which text misleads most."""
PLAIN = "plain"


def policy_of(edited: Edited, weight: float, rate: float, scope: str) -> Edit:
    """Return the paper's edit of keys, values or both with a weight of the KL term."""
    return sweep_policy(Edit.paper(scope=scope, learning_rate=rate), edited, weight)


def f1_of(model: Any, processor: Any, evaluation: Any, policy: Policy) -> float:
    """Return F1 of captions in which no object may be named twice."""
    captions, _, _ = timed_captions(model, processor, evaluation, policy, ban=True)
    return float(scene.caption_metrics(captions, evaluation.scenes, scene.LANGUAGE).f1)


def measured(model: Any, processor: Any, evaluation: Any, policy: Policy | None) -> dict[str, Floats]:
    """Return every metric of a policy over all resamples of the scenes, ``[1 + R]``."""
    captions, _, _ = timed_captions(model, processor, evaluation, policy, ban=True)
    questions = evaluation.split(SPLIT)
    if policy is None:
        margins = scene.question_margins(model, processor, evaluation, questions)
    else:
        with steering(model, policy):
            margins = scene.question_margins(model, processor, evaluation, questions)
    weights = resampling_weights(len(evaluation.scenes))
    found = scene.caption_values(weights @ scene.caption_counts(captions, evaluation.scenes, scene.LANGUAGE))
    asked = np.array([question.scene for question in questions])
    labels = np.array([question.label for question in questions])
    closed = closed_values(margins, labels, weights[:, asked])
    kept = {name: found[name] for name in ("f1", "chair_i", "recall", "finished")}
    return kept | {"auc": closed["auc"], "accuracy": closed["accuracy"]}


def row_of(found: Mapping[str, Floats], plain: Mapping[str, Floats], policy: Policy | None, seconds: float) -> Any:
    """Return a row of the report: values with intervals, and differences from the plain model in pairs."""

    def bounded(values: Floats) -> list[float | None]:
        return [number(value, 6) for value in estimate(values)]

    return {
        "settings": None if policy is None else policy_to_dict(policy),
        "values": {name: bounded(values) for name, values in found.items()},
        "differences": {name: bounded(values - plain[name]) for name, values in found.items()},
        "seconds": number(seconds, 4),
    }


class Sweep:
    """A report that is written after every result."""

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path = path
        self.report: dict[str, Any] = {**identity, "tuning": {}, "rows": {}}
        if path.exists():
            self.report = read_json(path, "a sweep")
            check_identity(path, "a sweep", self.report, identity)

    @property
    def rates(self) -> dict[str, float]:
        """The learning rate with the best F1 on the tuning seed, for each of ``EDITED`` of which all are measured."""
        found = {}
        for edited in EDITED:
            tried = self.report["tuning"].get(edited, {})
            if len(tried) == len(RATES):
                found[edited] = float(max(tried, key=lambda rate: tried[rate]))
        return found

    def note(self, *path: str, value: Any) -> None:
        """Put a result into the report and write it."""
        place = self.report
        for key in path[:-1]:
            place = place.setdefault(key, {})
        place[path[-1]] = value
        write_json(self.path, self.report)


def run(sweep: Sweep, model: Any, processor: Any, lambdas: Sequence[float], progress: Progress) -> None:
    """Measure what the report lacks."""
    about = sweep.report
    world = load_world("scene")
    task = progress.add_task("", total=len(EDITED) * (len(RATES) + len(lambdas)))
    tuning = world.evaluation_set(about["tuning_seed"], scenes=about["tuning_scenes"])
    for edited in EDITED:
        for rate in RATES:
            progress.update(task, description=f"learning rate {rate:g} of {edited}")
            if f"{rate:g}" not in about["tuning"].get(edited, {}):
                f1 = f1_of(model, processor, tuning, policy_of(edited, PAPER_LAMBDA, rate, about["scope"]))
                sweep.note("tuning", edited, f"{rate:g}", value=number(f1, 6))
            progress.advance(task)
    wanted = [(edited, weight) for weight in lambdas for edited in EDITED]
    missing = [pair for pair in wanted if sweep_name(*pair) not in about["rows"]]
    progress.advance(task, len(wanted) - len(missing))
    if not missing:
        return
    evaluation = world.evaluation_set(about["seed"], scenes=about["scenes"])
    start = time.perf_counter()
    plain = measured(model, processor, evaluation, None)
    sweep.note("rows", PLAIN, value=row_of(plain, plain, None, time.perf_counter() - start))
    for edited, weight in missing:
        progress.update(task, description=f"lambda {weight:g}, {edited}")
        policy = policy_of(edited, weight, sweep.rates[edited], about["scope"])
        start = time.perf_counter()
        found = measured(model, processor, evaluation, policy)
        sweep.note("rows", sweep_name(edited, weight), value=row_of(found, plain, policy, time.perf_counter() - start))
        progress.advance(task)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, write the table, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    seeds = protocol(scene.WORLD).seeds
    parser.add_argument("--model", default="bundled", help="name of a frozen model, or a folder")
    parser.add_argument("--scope", choices=("cache", "sequence"), default="cache", help="of the edit; cache is quicker")
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--seed", type=int, choices=seeds["confirmation"], default=seeds["confirmation"][0])
    parser.add_argument("--tuning-seed", type=int, choices=seeds["tuning"], default=seeds["tuning"][0])
    parser.add_argument("--tuning-scenes", type=int, default=30)
    parser.add_argument("--lambdas", type=float, nargs="+", default=LAMBDAS, metavar="LAMBDA")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS / "sweep.json")
    chosen = parser.parse_args(argv)
    check_writable(chosen.out)
    torch.set_num_threads(chosen.threads)
    model, processor = load_frozen(scene.WORLD, chosen.model)
    names = ("scope", "seed", "scenes", "tuning_seed", "tuning_scenes")
    identity = {"model": Path(chosen.model).name, "weights": weights_hash(model)}
    identity |= {name: getattr(chosen, name) for name in names}
    sweep = Sweep(chosen.out, identity)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    notices = Console(stderr=True)
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=notices) as progress:
        run(sweep, model, processor, chosen.lambdas, progress)
    page = sweep_page(sweep.report, sweep.rates)
    write_text(chosen.out.with_suffix(".md"), page)
    figure = sweep_figure(sweep.report, sweep.rates)
    for kind in (".pdf", ".png"):
        figure.save(chosen.out.with_suffix(kind))
    print(page)


if __name__ == "__main__":
    main()
