"""Acceptance table of a scene-world model: ``python -m lime_xai.worlds.scene.check [MODEL_DIR]``."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.table import Table

from lime_xai.worlds.scene.causes import dialogue_causes, partner_probabilities
from lime_xai.worlds.scene.evaluation import DEFAULT_NOISE, SPLITS, EvaluationSet, evaluation_set
from lime_xai.worlds.scene.loading import MODEL_FOLDER, load_model
from lime_xai.worlds.scene.measuring import Measurement, measure, question_margins
from lime_xai.worlds.scene.network import weights_hash

CHECK_SEED = 20_000
MAX_PARAMETERS = 1_100_000
MAX_MEGABYTES = 4.5


@dataclass(frozen=True)
class Row:
    """One line of the table: a measured value and the interval [low, high] that it should lie in."""

    name: str
    value: float
    low: float = -math.inf
    high: float = math.inf
    required: bool = False

    @property
    def target(self) -> str:
        """The interval in words; empty where the value is only shown."""
        low, high = (f"{bound:,.10g}" for bound in (self.low, self.high))
        if math.isinf(self.low):
            return "" if math.isinf(self.high) else f"at most {high}"
        return f"at least {low}" if math.isinf(self.high) else f"{low} to {high}"

    @property
    def passed(self) -> bool:
        """Whether the value lies in the interval."""
        return self.low <= self.value <= self.high

    @property
    def verdict(self) -> str:
        """Return pass, miss, MISS (a required row) or nothing where there is no target."""
        if not self.target:
            return ""
        return "pass" if self.passed else "MISS" if self.required else "miss"

    @property
    def shown(self) -> str:
        """The value as text."""
        return f"{self.value:,.0f}" if abs(self.value) >= 1000 else f"{self.value:.3f}"


def _accuracy_rows(measured: Measurement) -> list[Row]:
    splits = measured.splits
    accuracy = {name: split.accuracy for name, split in splits.items()}
    return [
        Row("random accuracy", accuracy["random"], 0.85, required=True),
        Row("random accuracy leaves room", accuracy["random"], high=0.95),
        *(Row(f"{name} accuracy", accuracy[name]) for name in SPLITS[1:]),
        Row("random minus dialogue accuracy", accuracy["random"] - accuracy["dialogue"], 0.10),
        *(Row(f"{name} AUC", splits[name].auc) for name in SPLITS[:-1]),
        Row("dialogue AUC", splits["dialogue"].auc, high=0.95),
        *(Row(f"{name} false yes", splits[name].false_yes) for name in SPLITS),
    ]


def _caption_rows(measured: Measurement) -> list[Row]:
    plain, banned = measured.captions, measured.no_repeat
    return [
        Row("CHAIR_i", plain.chair_i, 0.15, 0.45, required=True),
        Row("CHAIR_i in the narrow band", plain.chair_i, 0.15, 0.40),
        Row("CHAIR_s", plain.chair_s),
        Row("caption recall", plain.recall),
        Row("caption F1", plain.f1),
        Row("repeated objects per caption", plain.repeated),
        Row("finished captions", plain.finished),
        Row("hallucinated objects that are partners of a named one", plain.partner_share, 0.60),
        Row("CHAIR_i, naming twice forbidden", banned.chair_i),
        Row("caption F1, naming twice forbidden", banned.f1),
    ]


def _cause_rows(model: Any, processor: Any, evaluation: EvaluationSet) -> list[Row]:
    next_partner = partner_probabilities(model, processor, evaluation)
    errors = dialogue_causes(model, processor, evaluation)
    return [
        Row("P(partner next), picture and text name the object", next_partner.both),
        Row("P(partner next), only the picture shows it", next_partner.picture),
        Row("P(partner next), only the text names it", next_partner.text),
        Row("P(partner next), neither", next_partner.neither),
        Row("ratio text / neither", next_partner.text / max(next_partner.neither, 1e-9), 3.0),
        Row("dialogue false yes that survive erasing the object", errors.erased, 0.70),
        Row("dialogue false yes that a neutral earlier yes brings too", errors.neutral, high=0.50),
        Row("dialogue false yes without the earlier turn", errors.single),
    ]


def _blind_row(model: Any, processor: Any, evaluation: EvaluationSet) -> Row:
    """Return how much the earlier turn raises yes about its partner where no picture speaks for either."""
    absent = [q for q in evaluation.split("dialogue") if not q.label]
    alone = [q for q in evaluation.split("adversarial") if not q.label]
    grey = _blank(evaluation)
    rise = question_margins(model, processor, grey, absent).mean()
    rise -= question_margins(model, processor, grey, alone).mean()
    return Row("yes-margin that the earlier turn adds on a grey picture", float(rise), 0.5)


def _blank(evaluation: EvaluationSet) -> EvaluationSet:
    grey = Image.new("RGB", evaluation.images[0].size, (220, 220, 220))
    return replace(evaluation, images=(grey,) * len(evaluation.images))


def acceptance(model: Any, processor: Any, evaluation: EvaluationSet) -> list[Row]:
    """Measure a model against the targets of the scene world.

    Parameters
    ----------
    model, processor : Any
        A LLaVA with the scene world's vocabulary, and its processor.
    evaluation : EvaluationSet
        What to measure on.

    Returns
    -------
    list of Row
        One row per value, with its target and verdict.
    """
    measured = measure(model, processor, evaluation)
    size = sum(t.numel() * t.element_size() for t in model.state_dict().values()) / 1e6
    return [
        Row("parameters", sum(p.numel() for p in model.parameters()), high=MAX_PARAMETERS, required=True),
        Row("weights in MB", size, high=MAX_MEGABYTES, required=True),
        *_accuracy_rows(measured),
        *_caption_rows(measured),
        *_cause_rows(model, processor, evaluation),
        _blind_row(model, processor, evaluation),
    ]


def markdown(rows: Sequence[Row]) -> str:
    """Return the table in Markdown."""
    lines = ["| measure | value | target | |", "| --- | ---: | --- | --- |"]
    lines += [f"| {r.name} | {r.shown} | {r.target} | {r.verdict} |" for r in rows]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the table; leave with status 1 if a required row misses."""
    parser = argparse.ArgumentParser(prog="python -m lime_xai.worlds.scene.check", description=__doc__)
    parser.add_argument("model", type=Path, nargs="?", default=MODEL_FOLDER)
    parser.add_argument("--seed", type=int, default=CHECK_SEED)
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--noise", type=float, default=DEFAULT_NOISE)
    parser.add_argument("--markdown", action="store_true", help="print Markdown instead of a drawn table")
    arguments = parser.parse_args()
    model, processor = load_model(arguments.model)
    evaluation = evaluation_set(arguments.seed, arguments.scenes, arguments.noise)
    rows = acceptance(model, processor, evaluation)
    console = Console()
    if arguments.markdown:
        console.print(markdown(rows), markup=False, highlight=False, soft_wrap=True)
    else:
        settings = f"{arguments.scenes} scenes, seed {arguments.seed}, noise {arguments.noise}"
        table = Table("measure", "value", "target", "", title=f"{arguments.model.name}: {settings}")
        for row in rows:
            table.add_row(row.name, row.shown, row.target, row.verdict)
        console.print(table)
        console.print(f"sha256 of the weights: {weights_hash(model)}")
    if any(row.required and not row.passed for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
