"""What ``lime-xai reproduce figure3`` does."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lime_xai.evaluation.benchmarks.paper import PaperModel, named_model, paper_model
from lime_xai.evaluation.benchmarks.shares import share_of_process
from lime_xai.generation.checks import check_policies
from lime_xai.generation.steer import steer
from lime_xai.policies.edit import Edit
from lime_xai.policies.registry import policy_to_dict
from lime_xai.report.explain import explain
from lime_xai.storage.store import write_json
from lime_xai.worlds import WORLDS

from .cost_prompt import CostPrompt, cost_inputs
from .loading import check_device, find_checkpoint, load_model, read_config
from .memory import show_memory
from .progress import duration
from .reproducing import check_alone, check_folder, list_notes, model_notes, save_both
from .screen import console

FIGURES = {"figure3": "relevance", "figure3-objective": "objective"}
"""Names of the files, and what they show."""

ANSWER, REPORT = "answer.safetensors", "figure3.json"
"""The explained answer, which ``lime-xai plot`` draws again, and the values with what made them."""

NOTE = (
    "what the paper's figure 3 calls relevance is not known here: this is the share of absolute relevance on image or "
    "sound, of the largest logit at the time, before every update and after the last"
)


@dataclass(frozen=True)
class StepsAsked:
    """What the options say, as given."""

    model: str
    prompt: CostPrompt
    tokens: int
    learning_rate: float | None
    paper_model: str | None
    estimate: bool
    device: str | None
    dtype: str


def run_figure3(asked: StepsAsked, folder: Path) -> None:
    """Answer a prompt in the paper's setting, and draw relevance and objective over the updates of every token.

    Parameters
    ----------
    asked : StepsAsked
        Model and prompt.
    folder : Path
        Gets the figures, their numbers and the answer.

    Raises
    ------
    ValueError, TypeError, OSError
        For what cannot be used.
    """
    if not (asked.prompt.images or asked.prompt.audios) and asked.model not in WORLDS:
        raise ValueError(
            "figure3 draws the relevance of a picture or a sound; give --image FILE or --audio FILE, and --prompt TEXT."
        )
    named = None if asked.paper_model is None else named_model(asked.paper_model)
    check_alone("figure3", share_of_process())
    check_device(asked.device)
    check_folder(folder)
    found = find_checkpoint(asked.model)
    config = read_config(found)
    paper = paper_model(asked.model, config) if asked.paper_model is None else named
    setting = paper_setting(paper, asked.learning_rate)
    model, processor = load_model(found, asked.device, asked.dtype)
    check_policies(model, [setting])
    inputs, what = cost_inputs(asked.model, model, processor, asked.prompt)
    show_memory(console, model, inputs, [("paper's setting", setting)], asked.tokens, what)
    _estimate(model, inputs, setting, asked.tokens)
    if asked.estimate:
        return
    notes = [*model_notes(asked.model, config, paper, asked.paper_model), what, setting_note(setting), NOTE]
    folder.mkdir(exist_ok=True)
    answer = explain(
        model, inputs, setting, processor=processor, compare=False, max_new_tokens=asked.tokens, do_sample=False
    )
    answer.save(folder / ANSWER)
    for name, measure in FIGURES.items():
        save_both(answer.plot_steps(measure, columns=2), folder / name)  # type: ignore[arg-type]
        console.print(f"{measure}: {folder / name}.pdf, .png, numbers: {folder / name}.csv", soft_wrap=True)
    report = {"model": asked.model, "settings": policy_to_dict(setting), "notes": notes, "answer": answer.text}
    write_json(folder / REPORT, {**report, "steps": answer.to_dict()["steps"]})
    console.print(f"answer: {answer.text}", soft_wrap=True, markup=False, highlight=False)
    list_notes(notes)


def paper_setting(paper: PaperModel | None, learning_rate: float | None) -> Edit:
    """Return the setting for one of the paper's models, or the usual one, with the learning rate of an option."""
    setting = Edit.paper() if paper is None else paper.policy()
    return setting if learning_rate is None else replace(setting, learning_rate=learning_rate)


def setting_note(setting: Edit) -> str:
    """Return the paper's setting as it is used, in words."""
    return (
        f"{setting.steps} steps of {setting.learning_rate:g}, tau {setting.objective.temperature:g}, {setting.scope} "
        "scope, all layers; a delta for each head of keys and values, where the paper shares one over the heads of a "
        "layer"
    )


def _estimate(model: Any, inputs: dict[str, Any], setting: Edit, tokens: int) -> None:
    """Time one token and print how long the answer will take."""
    start = time.perf_counter()
    steer(model, inputs, setting, max_new_tokens=1, do_sample=False)
    each = time.perf_counter() - start
    console.print(f"about {duration(each * tokens)} for {tokens} tokens at most, by the time of one", soft_wrap=True)
