"""How fast are finished answers scored, beside generating them? ``python benchmarks/replay.py``.

Captions of the bundled model for pictures of the scene world (seed 5), greedy. Each is generated, and then scored word
by word by ``score_answer``, alternately, on one thread. Prints answers per second of both, and their ratio with a 95 %
bootstrap interval over pictures. It takes about five minutes of CPU for 1,000 answers.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from lime_xai.evaluation.bootstrap import estimate, resampling_weights
from lime_xai.report.scored import score_answer
from lime_xai.storage.store import check_writable, write_json
from lime_xai.worlds.scene.world import WORLD

RESULTS = Path(__file__).parent / "results"
SEED = 5
LONGEST = 40
"""Tokens of a caption."""


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=1000)
    parser.add_argument("--json", type=Path, default=RESULTS / "replay.json")
    arguments = parser.parse_args()
    check_writable(arguments.json)
    torch.set_num_threads(1)
    model, processor = WORLD.load_model()
    evaluation = WORLD.evaluation_set(seed=SEED, scenes=arguments.answers)
    settings = {"max_new_tokens": LONGEST, "do_sample": False, "num_beams": 1}
    seconds, tokens = np.zeros((arguments.answers, 2)), 0
    for index, medium in enumerate(track(evaluation.media, description="answers")):
        inputs = WORLD.batch(processor, [medium], [evaluation.caption_prompt])
        begun = time.perf_counter()
        ids = model.generate(**inputs, **settings)[0, inputs["input_ids"].shape[1] :]
        written = time.perf_counter()
        score_answer(model, inputs, ids.tolist(), processor=processor)
        seconds[index] = written - begun, time.perf_counter() - written
        tokens += len(ids)
    sums = resampling_weights(arguments.answers) @ seconds
    ratio = estimate(sums[:, 0] / sums[:, 1])
    found = {
        "answers": arguments.answers,
        "tokens": tokens,
        "generated_per_second": round(arguments.answers / float(sums[0, 0]), 2),
        "scored_per_second": round(arguments.answers / float(sums[0, 1]), 2),
        "scored_over_generated": dict(zip(("value", "low", "high"), (round(value, 3) for value in ratio), strict=True)),
    }
    print(json.dumps(found))
    write_json(arguments.json, found)


if __name__ == "__main__":
    main()
