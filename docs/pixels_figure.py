"""Draws the figure of ``how-to/relevance-of-pixels.md``: ``python docs/pixels_figure.py``."""

from pathlib import Path

import torch

import lime_xai
from lime_xai.worlds import bundled_model, load_world

STATIC = Path(__file__).parent / "_static"


def main() -> None:
    torch.set_num_threads(1)
    model, processor = bundled_model()
    evaluation = load_world("scene").evaluation_set(seed=1, scenes=2, noise=0.2)
    question = next(one for one in evaluation.questions if one.label)
    inputs = processor(images=evaluation.images[question.scene], text=question.prompt, return_tensors="pt")
    yes, no = processor.tokenizer.convert_tokens_to_ids(["yes", "no"])
    encoder = lime_xai.EncoderLRP(gamma=0.25)
    found = lime_xai.attribute_pixels(model, inputs, (yes, no), encoder=encoder)
    asked = question.prompt.split("<image>")[-1].removesuffix("assistant:").strip()
    found.plot(f"{asked} yes against no").savefig(STATIC / "pixels.png", dpi=130)


if __name__ == "__main__":
    main()
