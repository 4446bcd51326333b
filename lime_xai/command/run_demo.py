"""The demonstration: a hallucination of the bundled model, its relevance, and the effect of steering."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from lime_xai.attribution.attribute import attribute
from lime_xai.attribution.result import Attribution
from lime_xai.evaluation.policies.world import measure_policies
from lime_xai.generation.steer import steer
from lime_xai.policies.edit import Edit
from lime_xai.printing import foreign
from lime_xai.worlds import bundled_model, load_world, scene

from .screen import notices

SHOWN = 4
"""Scenes whose captions are printed."""


def run_demo(console: Console, out: Path, scenes: int, seed: int) -> None:
    """Print captions, relevance and metrics of the bundled model, plain and steered; save the picture.

    Parameters
    ----------
    console : rich.console.Console
        Printed to.
    out : Path
        PNG of the relevance.
    scenes : int
        Size of the small measurement.
    seed : int
        Of the scenes.
    """
    world = load_world("scene")
    model, processor = bundled_model("scene")
    evaluation = world.evaluation_set(seed, scenes=max(scenes, 24))
    plain = scene.generate_captions(model, processor, evaluation)
    wrong = [i for i, (c, s) in enumerate(zip(plain, evaluation.scenes, strict=True)) if hallucinated(c, s)]
    shown = (wrong + [i for i in range(len(plain)) if i not in wrong])[:SHOWN]
    console.rule("what the model says, plain and steered")
    console.print(_captions(model, processor, evaluation, plain, shown))
    if wrong:
        console.rule("why: where the relevance of a hallucinated word lies")
        found, picture = explain(model, processor, evaluation, plain, wrong[0])
        word = processor.tokenizer.decode(found.target_ids[0])
        title = f'Why the model says "{word}", which is not in the picture'
        found.plot(image=picture, title=title).savefig(out, dpi=150)
        console.print(title)
        console.print(found.text(width=console.width))
        console.print("shares: " + ", ".join(f"{k} {float(v[0]):.2f}" for k, v in found.shares.items()))
        console.print(f"picture: {out}", soft_wrap=True)
    console.rule(f"how often: {scenes} fresh scenes")
    with Progress(console=notices) as progress:
        task = progress.add_task("measuring", total=2)
        report = measure_policies(
            world,
            model,
            processor,
            {"edit": Edit()},
            seed=seed + 1,
            scenes=scenes,
            progress=lambda done: progress.update(task, completed=len(done.policies)),
        )
    console.print(report.tables())
    console.print("CHAIR_i: share of named objects that are not in the picture; lower is better.")


def hallucinated(caption: str, truth: Any) -> list[int]:
    """Return the objects a caption names that the scene does not hold."""
    return [obj for obj in dict.fromkeys(scene.LANGUAGE.mentions(caption)) if obj not in truth.present]


def _inputs(processor: Any, picture: Any, text: str) -> Any:
    return processor(images=[[picture]], text=[text], return_tensors="pt")


def _captions(model: Any, processor: Any, evaluation: Any, plain: list[str], shown: list[int]) -> Table:
    table = Table()
    for column in ("in the picture", "plain", "steered"):
        table.add_column(column)
    for index in shown:
        inputs = _inputs(processor, evaluation.images[index], evaluation.caption_prompt)
        output = steer(model, inputs, max_new_tokens=scene.CAPTION_TOKENS, do_sample=False)
        new = output.sequences[0, inputs["input_ids"].shape[1] :]
        steered = processor.tokenizer.decode(new, skip_special_tokens=True)
        truth = evaluation.scenes[index]
        names = ", ".join(scene.CLASSES[obj] for obj in truth.present)
        table.add_row(names, *(_marked(caption, truth) for caption in (plain[index], steered)))
    return table


def _marked(caption: str, truth: Any) -> Text:
    """Return a caption with its hallucinated words in red."""
    text = foreign(caption.replace("</s>", "").strip())
    text.highlight_words([scene.CLASSES[obj] for obj in hallucinated(caption, truth)], "bold red")
    return text


def explain(model: Any, processor: Any, evaluation: Any, captions: list[str], index: int) -> tuple[Attribution, Any]:
    """Return the attribution of the first hallucinated word of a caption, and the picture.

    The words before it stand in the prompt, as they did when the model chose it.
    """
    caption, truth = captions[index], evaluation.scenes[index]
    word = scene.CLASSES[hallucinated(caption, truth)[0]]
    before = caption[: caption.index(word)]
    inputs = _inputs(processor, evaluation.images[index], f"{evaluation.caption_prompt} {before}".strip())
    token = processor.tokenizer.convert_tokens_to_ids(word)
    found = attribute(model, inputs, target=token, processor=processor)
    return found, evaluation.images[index]
