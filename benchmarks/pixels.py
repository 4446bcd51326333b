"""Does relevance of pixels lie on the object? ``python benchmarks/pixels.py``.

Every scene's first question about an object that is in the picture (``world_examples``, seed 5, which no setting was
chosen on), the bundled model, the logit of "yes" minus that of "no". The truth are the pixels that the object's glyph
covers by more than half. Writes ``benchmarks/results/pixels.json`` and ``pixels.md``; intervals are bootstrap over
scenes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

import lime_xai
from lime_rules import EncoderLRP
from lime_xai.evaluation.attributions.localisation import hits, positive_share
from lime_xai.evaluation.attributions.world import SEED, world_examples
from lime_xai.evaluation.bootstrap import bounded, estimate, resampling_weights
from lime_xai.worlds.scene.masks import pixel_mask
from lime_xai.worlds.scene.objects import PATCH_SIZE, PATCHES_PER_SIDE
from lime_xai.worlds.scene.world import WORLD
from lime_xai.worlds.shared.models import load_frozen

RESULTS = Path(__file__).parent / "results"
METRICS = ("mass", "pointing", "mass_pooled", "pointing_pooled")

FORMS: dict[str, tuple[str, EncoderLRP | str]] = {
    "LRP-0": ("attnlrp", EncoderLRP()),
    "epsilon 0.01": ("attnlrp", EncoderLRP(epsilon=0.01)),
    "gamma 0.1": ("attnlrp", EncoderLRP(gamma=0.1)),
    "gamma 0.25": ("attnlrp", EncoderLRP(gamma=0.25)),
    "LRP-0, flat": ("attnlrp", EncoderLRP(first="flat")),
    "LRP-0, wsquare": ("attnlrp", EncoderLRP(first="wsquare")),
    "gamma 0.1, flat": ("attnlrp", EncoderLRP(gamma=0.1, first="flat")),
    "gamma 0.1, wsquare": ("attnlrp", EncoderLRP(gamma=0.1, first="wsquare")),
    "gamma 0.25, flat": ("attnlrp", EncoderLRP(gamma=0.25, first="flat")),
    "gamma 0.25, wsquare": ("attnlrp", EncoderLRP(gamma=0.25, first="wsquare")),
    "CP-LRP in the encoder": ("attnlrp", EncoderLRP("cplrp")),
    "CP-LRP in both": ("cplrp", EncoderLRP("cplrp")),
    "gradient x input": ("gradient_input", "gradient_input"),
}
"""Rules of the decoder and of the encoder, by the name of the row."""


def pooled(values: Tensor) -> Tensor:
    """Return the sums over the patches of the tokens, spread evenly over their pixels; ``[72, 72]``."""
    sums = values.reshape(PATCHES_PER_SIDE, PATCH_SIZE, PATCHES_PER_SIDE, PATCH_SIZE).sum((1, 3)) / PATCH_SIZE**2
    return sums.repeat_interleave(PATCH_SIZE, 0).repeat_interleave(PATCH_SIZE, 1)


def token_maps(attribution: lime_xai.Attribution) -> dict[str, Tensor]:
    """Return the relevance of the image tokens as pixels: each token's spread over its patch, and interpolated."""
    (layout,) = attribution.layouts[0]
    (tile,) = layout.tiles
    values = torch.from_numpy(attribution.row(0).tile(tile)).double()
    smooth = interpolate(values[None, None], scale_factor=PATCH_SIZE, mode="bilinear", align_corners=False)[0, 0]
    flat = values.repeat_interleave(PATCH_SIZE, 0).repeat_interleave(PATCH_SIZE, 1)
    return {"tokens": flat, "tokens, bilinear": smooth}


def scores(values: Tensor, truth: Tensor) -> dict[str, float]:
    """Return the metrics of a map ``[72, 72]``, plain and summed over patches."""
    found = {}
    for name, one in (("", values.double()), ("_pooled", pooled(values.double()))):
        found[f"mass{name}"] = positive_share(one.flatten(), truth.flatten())
        found[f"pointing{name}"] = hits(one.flatten(), truth.flatten(), 1)
    return found


def measure(model: Any, processor: Any, questions: int) -> dict[str, dict[str, list[float]]]:
    """Return per row and metric one value per question."""
    examples = world_examples(processor, questions)
    rows: dict[str, dict[str, list[float]]] = {}
    generator = torch.Generator().manual_seed(0)

    def add(name: str, found: Mapping[str, float]) -> None:
        for metric, value in found.items():
            rows.setdefault(name, {}).setdefault(metric, []).append(value)

    for question, example in zip(examples.questions, examples, strict=True):
        truth = torch.from_numpy(pixel_mask(examples.evaluation, question.scene, question.obj))
        prompt = lime_xai.read_prompt(model, example.inputs, processor=processor)
        for name, (method, encoder) in FORMS.items():
            found = lime_xai.attribute_pixels(model, prompt, example.target, method, encoder=encoder)
            if name == "LRP-0":
                for kind, values in token_maps(found.tokens).items():
                    add(kind, scores(values, truth))
            (one,) = found.maps()
            kept = found.conservation
            add(name, scores(one.values, truth))
            add(name, {metric: float(kept[metric]) for metric in ("tokens", "inputs")})
        add("random", scores(torch.randn(truth.shape, generator=generator), truth))
        add("area of the object", scores(torch.ones(truth.shape), truth))
    return rows


def report(rows: Mapping[str, Mapping[str, Sequence[float]]], clusters: Sequence[int]) -> dict[str, Any]:
    """Return means with intervals over scenes, and the sums that the encoder keeps."""
    names, index = np.unique(clusters, return_inverse=True)
    weights = resampling_weights(len(names))[:, index]
    table: dict[str, Any] = {}
    for row, metrics in rows.items():
        table[row] = {m: estimate(weights @ np.asarray(metrics[m]) / weights.sum(1)) for m in METRICS}
        if "inputs" in metrics:
            gaps = np.abs(np.asarray(metrics["inputs"]) - np.asarray(metrics["tokens"]))
            table[row]["gap"] = float(np.median(gaps) / np.median(np.abs(metrics["tokens"])))
    return table


def markdown(table: Mapping[str, Any]) -> str:
    """Return the table; ``gap`` is how far pixels and tokens are apart."""
    lines = [
        "| | mass | pointing | mass, per patch | pointing, per patch | gap |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row, values in table.items():
        cells = [bounded(*values[metric]) for metric in METRICS]
        gap = f"{values['gap']:.2f}" if "gap" in values else "-"
        lines.append(f"| {row} | {' | '.join(cells)} | {gap} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--label", default="", help="added to the names of the files")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    model, processor = load_frozen(WORLD, arguments.model)
    rows = measure(model, processor, arguments.questions)
    clusters = [question.scene for question in world_examples(processor, arguments.questions).questions]
    table = report(rows, clusters)
    about = {"model": arguments.model, "seed": SEED, "questions": arguments.questions, "scenes": len(set(clusters))}
    RESULTS.mkdir(exist_ok=True)
    stem = RESULTS / f"pixels{arguments.label}"
    stem.with_suffix(".json").write_text(json.dumps({"about": about, "table": table, "values": rows}, indent=1))
    stem.with_suffix(".md").write_text(markdown(table) + "\n", encoding="utf-8")
    print(about, markdown(table), sep="\n")


if __name__ == "__main__":
    main()
