"""Make ``docs/_static/gallery-*.png``: ``python docs/gallery_figures.py [NAME ...]`` (pages need Chromium).

Pictures of the bundled models show one scene and one clip of a fixed seed, the examples of the docs.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from photograph import photograph, with_click
from rich.console import Console

import lime_xai
from lime_xai.evaluation.attributions.world import world_examples
from lime_xai.report.page import Entry, report_page
from lime_xai.worlds import bundled_model, example, load_world

STATIC = Path(__file__).parent / "_static"
DPI = 130
COMPARED = ("attnlrp", "cplrp", "gradient_input", "saliency", "attention_rollout", "feature_ablation")
QUESTIONS = 16
PICTURES = 6


def answer() -> None:
    """Draw the figures of an answer, alone and beside the answer under a policy."""
    model, processor, inputs = example()
    found = lime_xai.explain(model, inputs, "contrast", processor=processor, max_new_tokens=30)
    alone = found.before
    alone.plot("cloud").savefig(STATIC / "gallery-word.png", dpi=DPI)
    alone.plot_words().savefig(STATIC / "gallery-words.png", dpi=DPI)
    alone.plot_matrix().savefig(STATIC / "gallery-matrix.png", dpi=DPI)
    found.plot_before_after("anchor").savefig(STATIC / "gallery-before-after.png", dpi=DPI)
    photograph(
        with_click(found.to_html(title="describe the image ."), "sun", "cloud"),
        STATIC / "gallery-page-dark.png",
        1180,
        847,
        dark=True,
    )
    photograph(
        with_click(found.to_html(title="describe the image ."), "cloud", "cloud"),
        STATIC / "gallery-page-phone.png",
        500,
        987,
    )


def folder() -> None:
    """Take a picture of the page of several answers."""
    entries = []
    for seed in range(900, 900 + PICTURES):
        model, processor, inputs = example(seed=seed)
        found = lime_xai.explain(model, inputs, processor=processor, max_new_tokens=30)
        entries.append(Entry(f"scene-{seed}.png", found))
    photograph(report_page(entries, "describe the image ."), STATIC / "gallery-folder.png", 1100, 760)


def steps() -> None:
    """Draw the objective of an edit over its steps."""
    model, processor, inputs = example()
    policy = lime_xai.Edit(steps=7)
    found = lime_xai.explain(model, inputs, policy, processor=processor, max_new_tokens=10, compare=False)
    found.plot_steps(columns=2).savefig(STATIC / "gallery-steps.png", dpi=DPI)


def pixels() -> None:
    """Draw the relevance of pixels for a margin."""
    model, processor, inputs = example("is there a heart in the image ?")
    target = tuple(processor.tokenizer.convert_tokens_to_ids(["yes", "no"]))
    found = lime_xai.attribute_pixels(model, inputs, target, encoder=lime_xai.EncoderLRP(gamma=0.25))
    found.plot("is there a heart in the image ? yes against no").savefig(STATIC / "gallery-pixels.png", dpi=DPI)


def terminal() -> None:
    """Draw what a terminal shows."""
    model, processor, inputs = example("is there a heart in the image ?")
    found = lime_xai.attribute(model, inputs, "yes", processor=processor)
    console = Console(record=True, width=60, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(found.text(width=60))
    photograph(console.export_html(), STATIC / "gallery-terminal.png", 660, 300)


def comparison() -> None:
    """Draw methods beside each other on a few questions."""
    model, processor = bundled_model()
    examples = world_examples(processor, QUESTIONS)
    found = lime_xai.compare_attributions(
        model, examples, COMPARED, ("delta_a", "mass", "rank", "passes"), processor=processor
    )
    found.plot().savefig(STATIC / "gallery-comparison.png", dpi=DPI)


def deletions() -> None:
    """Draw what becomes of an answer without the most relevant parts of the prompt."""
    model, processor, inputs = example("is there a heart in the image ?")
    target = tuple(processor.tokenizer.convert_tokens_to_ids(["yes", "no"]))
    methods = ("attnlrp", "saliency", "gradient_input")
    found = lime_xai.deletion_curves(model, inputs, methods, target=target, processor=processor)
    found.plot().savefig(STATIC / "gallery-deletions.png", dpi=DPI)


def sound() -> None:
    """Draw a clip of the sound world, with what sounds when, and the relevance of a word over time."""
    model, processor, inputs = example(world="sound")
    clip = load_world("sound").evaluation_set(seed=900, scenes=1).scenes[0]
    found = lime_xai.explain(model, inputs, processor=processor, max_new_tokens=26)
    events = {name: (event.onset, event.offset) for name, event in zip(clip.names, clip.events, strict=True)}
    found.plot_sound("bird", events=events).savefig(STATIC / "gallery-sound.png", dpi=DPI)


FIGURES: dict[str, Callable[[], None]] = {
    one.__name__: one for one in (answer, folder, steps, pixels, terminal, comparison, deletions, sound)
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    for chosen in sys.argv[1:] or FIGURES:
        FIGURES[chosen]()
