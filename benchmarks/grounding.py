"""Which number of a word tells invented objects from seen ones? ``python benchmarks/grounding.py``.

Captions of a model for media of a world (seed 5, which no setting was chosen on), greedy, each explained. Every first
mention of an object in a caption is one case: the object is there, or it is invented. Numbers of the word are ranked,
and the area under the ROC curve says how often a random invented object comes before a random seen one (0.5 is chance).
The place in the caption is the control: later objects are invented more often. No threshold and no setting is chosen.
Intervals are bootstrap over scenes. Writes ``benchmarks/results/grounding.json`` and prints the table of
``benchmarks/RESULTS.md``. It takes about two minutes of CPU. ``--world sound`` does the same with sounds, and
``python -m benchmarks.photographs detect`` with photographs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

import lime_xai
from lime_xai.evaluation.bootstrap import bounded, estimate, resampling_weights
from lime_xai.storage.store import check_writable, number, write_json
from lime_xai.storage.weights import weights_hash
from lime_xai.worlds import WORLDS
from lime_xai.worlds.shared.closed import weighted_auc
from lime_xai.worlds.shared.evaluation import EvaluationSet
from lime_xai.worlds.shared.metrics import ratio
from lime_xai.worlds.shared.models import load_frozen

RESULTS = Path(__file__).parent / "results"
SEED = 5
LONGEST = 40
"""Tokens of a caption."""


@dataclass(frozen=True)
class Mention:
    """The first mention of an object in a caption.

    Attributes
    ----------
    scene : int
        Index of the scene.
    word : str
        The name of the object.
    invented : bool
        Whether it is absent.
    grounding, probability, entropy : float
        Of the word, as ``explain`` gives them.
    share : float
        Of the perceptual positions in the word's absolute relevance.
    order : int
        How many other objects are named before it.
    """

    scene: int
    word: str
    invented: bool
    grounding: float
    probability: float
    entropy: float
    share: float
    order: int


DETECTORS: dict[str, tuple[str, int]] = {
    "low grounding": ("grounding", -1),
    "low probability": ("probability", -1),
    "high entropy": ("entropy", 1),
    "low perceptual share": ("share", -1),
    "a late place": ("order", 1),
}
"""Field of a mention, and whether large (1) or small (-1) values speak for an invented object."""


def mentions(model: Any, processor: Any, evaluation: EvaluationSet, tokens: int = LONGEST) -> list[Mention]:
    """Return every first mention of an object, caption by caption.

    Parameters
    ----------
    model, processor : object
        The model and its processor.
    evaluation : EvaluationSet
        What is described.
    tokens : int
        Of a caption at most.

    Raises
    ------
    ValueError
        If a word has no grounding.
    """
    world, found = evaluation.world, []
    pairs = list(zip(evaluation.scenes, evaluation.media, strict=True))
    for index, (scene, medium) in enumerate(track(pairs, description="captions")):
        inputs = world.batch(processor, [medium], [evaluation.caption_prompt]).to(model.device)
        answer = lime_xai.explain(
            model, inputs, processor=processor, max_new_tokens=tokens, do_sample=False, num_beams=1
        )
        named: set[int] = set()
        for word in answer.words:
            for obj in world.language.mentions(word.text):
                if obj in named:
                    continue
                if word.grounding is None:
                    raise ValueError(f"{word.text} has no grounding: {answer.no_grounding}")
                numbers = (word.grounding, word.probability, word.entropy, word.shares[world.modality], len(named))
                named.add(obj)
                found.append(Mention(index, world.language.classes[obj], obj not in scene.present, *numbers))
    return found


def resampled(found: Sequence[Mention], *, same_place: bool = False) -> dict[str, NDArray[np.float64]]:
    """Return the area under the ROC curve of each detector over all resamples of the scenes, [1 + R].

    Parameters
    ----------
    found : sequence of Mention
        Seen and invented objects.
    same_place : bool
        Whether an invented object is compared only with seen ones at the same place of their captions.
    """
    scenes, index = np.unique([one.scene for one in found], return_inverse=True)
    weights = resampling_weights(len(scenes))[:, index]
    invented = np.asarray([one.invented for one in found])
    places = np.asarray([one.order if same_place else 0 for one in found])
    areas = {}
    for name, (field, sign) in DETECTORS.items():
        scores = sign * np.asarray([getattr(one, field) for one in found], dtype=np.float64)
        before, pairs = np.zeros(len(weights)), np.zeros(len(weights))
        for place in np.unique(places):
            here = places == place
            few, label = weights[:, here], invented[here]
            count = (few @ label) * (few @ ~label)
            before += np.where(count > 0, weighted_auc(scores[here], label, few) * count, 0.0)
            pairs += count
        areas[name] = ratio(before, pairs)
    return areas


def areas(found: Sequence[Mention]) -> dict[str, tuple[float, float, float]]:
    """Return the area under the ROC curve of each detector, with its interval."""
    return {name: estimate(values) for name, values in resampled(found).items()}


def medians(found: Sequence[Mention]) -> dict[str, dict[str, float]]:
    """Return the median of every number, of seen and of invented objects."""
    return {
        field: {
            name: float(np.median([getattr(one, field) for one in found if one.invented == invented]))
            for name, invented in (("seen", False), ("invented", True))
        }
        for field, _ in DETECTORS.values()
    }


def markdown(table: Mapping[str, tuple[float, float, float]], middle: Mapping[str, Mapping[str, float]]) -> str:
    """Return the table."""
    lines = ["| an invented object has | area under the ROC curve | median, seen | median, invented |"]
    lines.append("| --- | ---: | ---: | ---: |")
    for name, values in table.items():
        one = middle[DETECTORS[name][0]]
        lines.append(f"| {name} | {bounded(*values)} | {one['seen']:.2f} | {one['invented']:.2f} |")
    return "\n".join(lines)


def measure(model: Any, processor: Any, evaluation: EvaluationSet, out: Path) -> None:
    """Explain captions, print the table and write the numbers.

    Parameters
    ----------
    model, processor, evaluation : object
        As in ``mentions``.
    out : Path
        A JSON file.

    Raises
    ------
    ValueError
        If no object is invented, or every one.
    """
    check_writable(out)
    start = time.process_time()
    found = mentions(model, processor, evaluation)
    invented = sum(one.invented for one in found)
    if invented in (0, len(found)):
        raise ValueError(f"{invented} of {len(found)} named objects are invented; expected some of each kind.")
    table, middle = areas(found), medians(found)
    about = {
        "world": evaluation.world.name,
        "model": weights_hash(model),
        "seed": evaluation.seed,
        "scenes": len(evaluation.scenes),
        "mentions": len(found),
        "invented": invented,
        "scenes_with_invented": len({one.scene for one in found if one.invented}),
        "cpu_seconds": round(time.process_time() - start),
    }
    print(json.dumps(about), markdown(table, middle), sep="\n\n")
    data = {
        "about": about,
        "auroc": {name: dict(zip(("value", "low", "high"), values, strict=True)) for name, values in table.items()},
        "medians": middle,
        "mentions": [
            {name: number(value, 6) if isinstance(value, float) else value for name, value in asdict(one).items()}
            for one in found
        ],
    }
    write_json(out, data)


def main(argv: Sequence[str] | None = None) -> None:
    """Load a model of a world and measure it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world", choices=tuple(WORLDS), default="scene")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--label", default="", help="added to the name of the file")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    world = WORLDS[arguments.world]
    model, processor = load_frozen(world, arguments.model)
    evaluation = world.evaluation_set(seed=SEED, scenes=arguments.scenes)
    measure(model, processor, evaluation, RESULTS / f"grounding{arguments.label}.json")


if __name__ == "__main__":
    main()
