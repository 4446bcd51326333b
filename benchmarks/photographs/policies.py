"""Measure policies on photographs at their usual settings, beside the model without any."""

import argparse
from pathlib import Path

from rich.console import Console

from lime_xai.command.run_world import run_world

from .scenes import DIFFICULTIES
from .world import EVALUATED, open_world

POLICIES = "vanilla,plausible,edit,contrast,contrast_slot,contrast_noise,contrast_nothing,contrast_background"
"""What is measured unless something else is asked for; nothing was tuned on photographs."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, the policies, and what they are measured on."""
    parser.add_argument("model", help="a folder that assemble made, or a name in protocol.json")
    parser.add_argument("--policies", default=POLICIES, help="as those of `lime-xai world`")
    parser.add_argument("--seed", type=int, default=7, help="of the scenes; not one used for tuning")
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--difficulty", choices=tuple(DIFFICULTIES), default=EVALUATED)
    parser.add_argument("--json", type=Path, help="report; an interrupted run resumes from it")
    parser.add_argument(
        "--tuned",
        type=Path,
        help="settings chosen elsewhere, in place of the usual ones; yes_shift has no others. Those of the pictograms: "
        "lime_xai/evaluation/policies/tuned_scene.json",
    )
    parser.add_argument("--calibration", type=Path, help="for reweight and constant; measured if it is not there")
    parser.add_argument("--device", help="by default the CPU")


def run(arguments: argparse.Namespace) -> None:
    """Measure, print the tables and write the report."""
    world = open_world(arguments.folder, arguments.difficulty)
    run_world(
        Console(),
        world.name,
        arguments.seed,
        arguments.scenes,
        [arguments.policies],
        None,
        arguments.model,
        arguments.json,
        None,
        arguments.tuned,
        arguments.calibration,
        arguments.device,
    )
