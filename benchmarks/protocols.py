"""Every bundled model under every policy on every benchmark that needs no download: ``python -m benchmarks.protocols``.

1. 300 scenes of each world are written to ``--folder``, as ``lime-xai world export`` writes them.
2. The world's bundled model is asked by the runner of ``lime-xai evaluate`` about the first ``--scenes`` of them: a
   caption and all closed questions, greedy, under each policy with the settings that are shipped for that world.
   Policies of ``SLOW`` are asked about the first ``--slow-scenes`` only, and compared with the plain model on these.
3. The same answers are measured as ``own`` too, which reads the same file of questions.

Answers are written one by one. The same command goes on after a kill, and with more scenes from the answers that are
there. It writes ``benchmarks/results/protocols_WORLD.json``, of which the tables in ``benchmarks/RESULTS.md`` are made.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from benchmarks.pages import RESULTS, Report, put, table
from lime_xai.evaluation.benchmarks import Item, Protocol, protocol_of
from lime_xai.evaluation.benchmarks.answers import KeptAnswers
from lime_xai.evaluation.benchmarks.asking import Asking, Decoding
from lime_xai.evaluation.benchmarks.protocols.world import FILES, write_world
from lime_xai.evaluation.benchmarks.results import PLAIN, conditions_of, results
from lime_xai.evaluation.benchmarks.run import evaluate
from lime_xai.evaluation.bootstrap import bounded
from lime_xai.evaluation.policies.registry import ITEM_MEDIA, OTHER_MEDIA, shipped_policies, world_policies
from lime_xai.evaluation.policies.tuning import TUNED
from lime_xai.policies.calibration import Calibration
from lime_xai.storage.store import check_writable, write_json
from lime_xai.storage.weights import weights_hash
from lime_xai.worlds import WORLDS, World

PAGE = Path(__file__).parent / "RESULTS.md"
MARK = "protocols"
SEED = 5
"""Of the scenes; settings were chosen on others."""

SCENES = 300
"""That are written; as many as the reports of the worlds have."""

SLOW = ("paper", "paper_cache")
"""Policies that take 65 to 500 times as long as the plain model."""

ASKED = {"world-captions": "captions", "world-questions": "questions"}
"""Benchmarks that are asked, and the exported file that each reads."""

MEASURED_TOO = {"own": "world-questions"}
"""Benchmarks that read the same file as another one, and so are measured on its answers."""

CALIBRATIONS = {"scene": "calibration_bundled.safetensors", "sound": "calibration_sound.safetensors"}

COLUMNS = {
    "world-captions": ("chair_i", "recall", "f1"),
    "world-questions": ("accuracy", "f1", "yes", "neither"),
    "own": ("accuracy", "unparsed"),
}
"""Measures in the tables; the first one is compared with the plain model beside its value."""


def policies_of(world: World, processor: Any, calibration: Calibration | None) -> tuple[dict[str, Any], dict[str, str]]:
    """Return every policy with the settings shipped for a world, and those left out, with the reason."""
    usual = shipped_policies(world, processor, calibration)
    tuned = world_policies(world, processor, None, calibration)
    left = {name: "changes no token with its usual settings" for name, one in usual.items() if one and one.idle}
    left |= {name: "has no settings chosen for this world" for name in TUNED if name in usual and name not in tuned}
    other = OTHER_MEDIA.keys() - ITEM_MEDIA.keys()
    left |= dict.fromkeys(other, "compares with the scene with everything erased, which lime-xai world makes")
    if world.modality != "image":
        left["contrast_noisy_pixels"] = "is for pictures"
    known = {**usual, **ITEM_MEDIA}
    return {name: one for name, one in known.items() if name not in left}, left


def exported(world: World, folder: Path) -> Path:
    """Return the folder of a world's scenes, written if they are not there whole; captions are written last."""
    place = folder / world.name
    if not (place / FILES["captions"]).is_file():
        write_world(world, place, SEED, SCENES)
    return place


def first_scenes(items: Sequence[Item], scenes: int) -> list[Item]:
    """Return the items about the first scenes."""
    units = list(dict.fromkeys(item.unit for item in items))[:scenes]
    return [item for item in items if item.unit in units]


def measured(
    protocol: Protocol, items: Sequence[Item], kept: KeptAnswers, names: Sequence[str], of: int
) -> dict[str, Any]:
    """Return what was measured of policies on items, JSON-ready."""
    answers = kept.by_policy()
    systems = {name: answers[name] for name in names}
    found = results(protocol, items, systems, against=PLAIN, of=of, conditions=conditions_of(kept.header)).to_dict()
    return {"policies": names, **found}


def run_world(world: World, folder: Path, scenes: int, slow_scenes: int, progress: Progress) -> dict[str, Any]:
    """Ask the bundled model of a world everything; return the report."""
    model, processor = world.load_model()
    path = RESULTS / CALIBRATIONS[world.name]
    policies, left = policies_of(world, processor, Calibration.load(path))
    place = exported(world, folder)
    fast, slow = ([name for name in policies if (name in SLOW) == wanted] for wanted in (False, True))
    parts: dict[str, list[dict[str, Any]]] = {}
    kept: KeptAnswers | None = None
    asked = [(fast, scenes), ([PLAIN, *slow], slow_scenes)]
    if not slow_scenes:
        left |= dict.fromkeys(slow, "was not asked in this run (--slow-scenes 0)")
        asked.pop()
    for chosen, number in asked:
        for name, file in ASKED.items():
            protocol = protocol_of(name)
            files = {file: place / FILES[file]}
            every = protocol.read(files)
            items = first_scenes(every, number)
            task = progress.add_task(f"{world.name}, {name}, {number} scenes")
            kept = evaluate(
                model,
                processor,
                Asking(protocol, items, files, Decoding(protocol.tokens)),
                {policy: policies[policy] for policy in chosen},
                place / f"answers-{name}.jsonl",
                name=world.name,
                progress=lambda done, total, task=task: progress.update(task, completed=done, total=total),
            )
            parts.setdefault(name, []).append(measured(protocol, items, kept, chosen, len(every)))
            for other in (other for other, same in MEASURED_TOO.items() if same == name):
                too = protocol_of(other)
                its = first_scenes(too.read(files), number)
                parts.setdefault(other, []).append(measured(too, its, kept, chosen, len(every)))
    return {
        "world": world.name,
        "weights": weights_hash(model),
        "calibration": path.name,
        "seed": SEED,
        "scenes": SCENES,
        "settings": kept.policies if kept else {},
        "left_out": left,
        "versions": kept.runs[-1]["versions"] if kept else {},
        "benchmarks": parts,
    }


def rows_of(part: Report, columns: Sequence[str]) -> list[list[str]]:
    """Return a row for each policy: measures of all items, the change of the first, and the time of an answer."""
    plain = part["systems"][PLAIN]["texts"]["seconds"]
    rows = []
    for policy in part["policies"]:
        system = part["systems"][policy]
        overall = list(system["measures"])[-1]
        change = "" if system["differences"] is None else bounded(*system["differences"][overall][columns[0]])
        values = [bounded(*system["measures"][overall][name]) for name in columns]
        rows.append([f"`{policy}`", values[0], change, *values[1:], f"{system['texts']['seconds'] / plain:.1f}"])
    return rows


def report_table(reports: Mapping[str, Report]) -> str:
    """Return the tables of all worlds."""
    parts = []
    for world, report in reports.items():
        left = "; ".join(f"`{name}` {why}" for name, why in report["left_out"].items())
        parts.append(f"Bundled model `{world}`, scenes of seed {report['seed']}. Left out: {left}.")
        for name, found in report["benchmarks"].items():
            for part in found:
                first = COLUMNS[name][0]
                header = ("", first, f"change of {first}", *COLUMNS[name][1:], "time")
                few = f"{part['items']} of {part['of']} items, {part['units']} of {report['scenes']} scenes"
                parts.append(f"`{name}`, parser `{part['parser']}`: {few}.")
                parts.append(table(header, rows_of(part, COLUMNS[name])))
    return "\n\n".join(parts)


def write_table(page: Path = PAGE, folder: Path = RESULTS) -> None:
    """Put the tables of all reports that are there between their marks on a page."""
    paths = {world: folder / f"protocols_{world}.json" for world in WORLDS}
    reports = {world: json.loads(path.read_text(encoding="utf-8")) for world, path in paths.items() if path.exists()}
    page.write_text(put(page.read_text(encoding="utf-8"), MARK, report_table(reports), page), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """Ask, measure, write the reports and the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=50, help="of each world, each with a caption and its questions")
    parser.add_argument("--slow-scenes", type=int, default=4, help=f"for {' and '.join(SLOW)}")
    parser.add_argument("--folder", type=Path, default=Path("work/protocols"), help="of scenes and answers")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    if not (2 <= given.scenes <= SCENES and given.slow_scenes in (0, *range(2, given.scenes + 1))):
        found = f"--scenes is {given.scenes} and --slow-scenes {given.slow_scenes}"
        parser.error(f"{found}; expected 2 to {SCENES} scenes, and 0 or 2 to as many slow ones")
    for world in WORLDS:
        check_writable(RESULTS / f"protocols_{world}.json")
    torch.set_num_threads(given.threads)
    given.folder.mkdir(parents=True, exist_ok=True)
    with Progress() as progress:
        for name, world in WORLDS.items():
            report = run_world(world, given.folder, given.scenes, given.slow_scenes, progress)
            write_json(RESULTS / f"protocols_{name}.json", report)
    write_table()


if __name__ == "__main__":
    main()
