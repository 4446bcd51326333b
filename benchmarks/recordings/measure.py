"""Measure policies on recordings at their usual settings, beside the model without any; a report resumes.

Clips are measured in blocks of four, each under every policy: after an interruption, the blocks that the report holds
are kept, and more clips can be added to it later. Nothing is tuned on recordings. ``uniform_gain`` has no usual
setting, and takes that of the synthesised sound world. Captions may name a thing twice.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypedDict, cast

import numpy as np
import torch
from rich.console import Console

from lime_xai.command.loading import check_device
from lime_xai.evaluation.against import Against
from lime_xai.evaluation.bootstrap import bounded, estimate, resampling_weights
from lime_xai.evaluation.policies.registry import Measured, Tuned, select_policies, tuned_file, world_policies
from lime_xai.evaluation.policies.world import contexts, for_questions
from lime_xai.policies.registry import policy_to_dict
from lime_xai.storage.store import check_identity, check_writable, read_json, write_json
from lime_xai.storage.weights import weights_hash
from lime_xai.worlds.shared.closed import closed_values
from lime_xai.worlds.shared.evaluation import SPLITS, EvaluationSet, Question
from lime_xai.worlds.shared.measuring import generate_captions, question_margins
from lime_xai.worlds.shared.metrics import caption_counts, caption_values

from .world import open_world

BLOCK: Final = 4
_SEEDS: Final = 1000
"""Blocks that one seed has at most; each is drawn from a seed of its own, so that clips can be added."""
POLICIES: Final = "vanilla,contrast,contrast_nothing,uniform_gain,edit"
ASKED: Final = ("random", "dialogue")
SHOWN: Final = ("f1", "chair_i", "recall", "outside", "finished")


class Rows(TypedDict):
    """What one policy did on the clips of a block: counts of captions, and of each question clip, margin and label."""

    captions: list[str]
    counts: list[list[float]]
    closed: dict[str, list[tuple[int, float, bool]]]


Value = float | None


class _Report(TypedDict):
    """A report: what it is of, the rows of each block by policy, and the summary."""

    about: dict[str, Any]
    blocks: list[dict[str, Rows]]
    summary: dict[str, dict[str, tuple[Value, Value, Value]]]


def measure_block(
    model: Any, processor: Any, evaluation: EvaluationSet, measured: Measured, splits: Sequence[str]
) -> Rows:
    """Measure one policy on the clips of a block.

    Parameters
    ----------
    model, processor : object
        What is steered.
    evaluation : EvaluationSet
        Clips and questions.
    measured : Policy, Against or None
        None is the plain model.
    splits : sequence of str
        Of closed questions; of each clip one about something present and one about something absent is asked.
    """
    under, around = contexts(model, processor, evaluation, measured)
    with under():
        captions = generate_captions(model, processor, evaluation, around=around)
    counts = caption_counts(captions, evaluation.scenes, evaluation.world.language)
    under, around = contexts(model, processor, evaluation, for_questions(measured))
    closed: dict[str, list[tuple[int, float, bool]]] = {}
    for split in splits:
        asked = one_of_each(evaluation.split(split))
        with under():
            margins = question_margins(model, processor, evaluation, asked, around=around)
        closed[split] = [
            (question.scene, float(margin), question.label) for question, margin in zip(asked, margins, strict=True)
        ]
    return {"captions": captions, "counts": counts.tolist(), "closed": closed}


def settings_of(measured: Measured) -> dict[str, Any] | None:
    """Return a policy as JSON, with the medium that a contrast is against; None for the plain model."""
    if isinstance(measured, Against):
        return {**policy_to_dict(measured.policy), "against": measured.medium}
    return None if measured is None else policy_to_dict(measured)


def one_of_each(questions: Sequence[Question]) -> list[Question]:
    """Return the first question with yes, and the first with no, of each clip; both or neither."""
    return list({(question.scene, question.label): question for question in reversed(questions)}.values())[::-1]


def summary(blocks: Sequence[Mapping[str, Rows]]) -> dict[str, dict[str, tuple[Value, Value, Value]]]:
    """Return value and interval of every measure by policy; changes against ``vanilla`` are paired over clips."""
    found: dict[str, dict[str, tuple[Value, Value, Value]]] = {}
    plain: dict[str, Any] = {}
    for name in blocks[0]:
        rows = [block[name] for block in blocks]
        counts = np.concatenate([np.array(row["counts"]) for row in rows])
        weights = resampling_weights(len(counts))
        captions = caption_values(weights @ counts)
        values = {key: captions[key] for key in SHOWN}
        for split in rows[0]["closed"]:
            asked = np.array(
                [(BLOCK * at + clip, *said) for at, row in enumerate(rows) for clip, *said in row["closed"][split]],
                np.float64,
            )
            closed = closed_values(asked[:, 1], asked[:, 2] > 0, weights[:, asked[:, 0].astype(int)])
            values |= {f"{split} {key}": closed[key] for key in ("accuracy", "auc")}
        plain = plain or values
        found[name] = {key: estimate(value) for key, value in values.items()}
        if values is not plain:
            found[name] |= {f"change of {key}": estimate(value - plain[key]) for key, value in values.items()}
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, the policies, and what they are measured on."""
    parser.add_argument("model", type=Path, help="a folder that assemble made")
    parser.add_argument("--seed", type=int, default=5, help="of the clips")
    parser.add_argument("--clips", type=int, default=24, help=f"a multiple of {BLOCK}")
    parser.add_argument("--policies", default=POLICIES)
    parser.add_argument("--splits", default=",".join(ASKED), help=f"of {', '.join(SPLITS)}")
    parser.add_argument("--json", type=Path, required=True, help="report; an interrupted run resumes from it")
    parser.add_argument("--device", help="by default the CPU")
    parser.add_argument("--threads", type=int, default=1)


def run(arguments: argparse.Namespace) -> None:
    """Measure block by block, print the table and write the report."""
    check_device(arguments.device)
    check_writable(arguments.json)
    if not 1 <= arguments.clips <= BLOCK * _SEEDS or arguments.clips % BLOCK:
        raise ValueError(
            f"clips is {arguments.clips}; expected a multiple of the {BLOCK} of a block, at most {BLOCK * _SEEDS}: "
            "more would be those of the next seed"
        )
    torch.set_num_threads(arguments.threads)
    world, console = open_world(arguments.folder), Console()
    model, processor = world.load_model(arguments.model)
    model.to(arguments.device or "cpu")
    tuned = read_json(tuned_file("sound"), "a file of tuned settings", Tuned)
    known = world_policies(world, processor, tuned)
    policies = select_policies(list(dict.fromkeys(["vanilla", *arguments.policies.split(",")])), known)
    splits = arguments.splits.split(",")
    about = {
        "model": arguments.model.name,
        "weights": weights_hash(model),
        "recordings": world.recorded.digest,
        "seed": arguments.seed,
        "policies": list(policies),
        "settings": {name: settings_of(measured) for name, measured in policies.items()},
        "splits": splits,
    }
    report: _Report = {"about": about, "blocks": [], "summary": {}}
    if arguments.json.exists():
        report = cast(_Report, read_json(arguments.json, "a report on recordings", _Report))
        check_identity(arguments.json, "clips", report["about"], about)
    for number in range(len(report["blocks"]), arguments.clips // BLOCK):
        evaluation = world.evaluation_set(_SEEDS * arguments.seed + number, BLOCK)
        rows = {
            name: measure_block(model, processor, evaluation, measured, splits) for name, measured in policies.items()
        }
        report["blocks"].append(rows)
        report["summary"] = summary(report["blocks"])
        write_json(arguments.json, report)
        console.print(f"{len(report['blocks']) * BLOCK} of {arguments.clips} clips", highlight=False)
    for name, values in report["summary"].items():
        console.print(f"{name}: " + "; ".join(f"{key} {bounded(*one)}" for key, one in values.items()), highlight=False)
