"""What ``lime-xai explain`` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas
import torch
from PIL import Image
from rich.progress import Progress, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from lime_xai.attribution.events import placed_events
from lime_xai.attribution.methods.task import AttributionMethod
from lime_xai.attribution.targets import target_name
from lime_xai.decoding.policy import Policy
from lime_xai.model.images import read_image
from lime_xai.model.modalities import Modalities
from lime_xai.policies.calibration import Calibration
from lime_xai.policies.registry import policy_to_dict
from lime_xai.printing import one_line, signed
from lime_xai.report.answer import ExplainedAnswer, ExplainedWord
from lime_xai.report.explain import explain
from lime_xai.report.page import THRESHOLD, Entry, report_page, worst_first, worst_word
from lime_xai.storage.store import write_json, write_text
from lime_xai.storage.weights import weights_hash

from .kept import KeptAnswers
from .loading import check_device, find_checkpoint, load_model
from .opening import Asked, Opened, ask, check_counterfactual_files, open_prompt
from .policies import Written, of_modalities, steering_choice
from .screen import console, labelled, notice, notices

MARKED = "bold yellow"
"""Style of words with a grounding below ``THRESHOLD``."""


SHOWN = 20
"""Answers of a folder that are printed."""

COUNTERFACTUAL = ("counterfactual_images", "counterfactual_audios")
"""Of what is asked: the files of a counterfactual."""


@dataclass(frozen=True)
class Wanted:
    """How answers are made and explained; names and JSON of the options were read before a model is loaded."""

    policies: Written | None
    calibration: Path | None
    answer: str | None
    against: str | None
    method: AttributionMethod
    max_new_tokens: int
    sample: bool
    seed: int
    modalities: Modalities = None


@dataclass(frozen=True)
class Files:
    """What to write, as the options say it; None: nothing."""

    html: Path | None = None
    out: Path | None = None
    save: Path | None = None
    csv: Path | None = None
    json: Path | None = None
    resume: Path | None = None


def run_explain(asked: Asked, wanted: Wanted, folder: Path | None, files: Files, events: Any = None) -> None:
    """Explain one answer, or one for every image of a folder; print them, and write files.

    Parameters
    ----------
    asked : Asked
        Model and prompt.
    wanted : Wanted
        How answers are made and explained.
    folder : Path, optional
        Of images.
    files : Files
        To write, checked before.
    events : mapping, sequence or None
        What sounds when, for the page of a single answer.

    Raises
    ------
    ValueError
        For events that do not fit the sounds; for a folder beside --image, --out, --save or --events, or one without
        images; for --resume without a folder, or with answers of other settings.
    """
    if folder is None and files.resume is not None:
        raise ValueError(
            "--resume is given without --folder; it keeps the answers of a folder. Drop it, or give --folder."
        )
    if folder is not None and events is not None:
        raise ValueError("--folder and --events are given; --events is for a single answer. Give one of them.")
    if folder is not None:
        entries = _explained_folder(asked, wanted, folder, files)
        show_folder(entries)
    else:
        opened = open_prompt(asked)
        placed_events(opened.prompt.layouts[0], events)  # refused here, before anything is computed
        found = _explained(opened, wanted, _policies(opened.processor, asked, wanted))
        entries = [Entry(str(asked.images[0]) if asked.images else "", found, events)]
        show(found)
        _write_figure(found, files)
    _write(entries, asked, files)


def _write_figure(found: ExplainedAnswer, files: Files) -> None:
    """Write figure and tensors of one answer."""
    if files.out is not None:
        found.plot().savefig(files.out, dpi=150)
        console.print(f"figure: {files.out}", soft_wrap=True)
    if files.save is not None:
        found.save(files.save)
        console.print(f"tensors: {files.save}", soft_wrap=True)


def _write(entries: Sequence[Entry], asked: Asked, files: Files) -> None:
    """Write page, table and report."""
    if files.html is not None:
        _write_page(entries, files.html, asked)
        console.print(f"page: {files.html}", soft_wrap=True)
    if files.csv is not None:
        frames = [entry.answer.to_frame().assign(file=entry.name) for entry in worst_first(entries)]
        write_text(files.csv, pandas.concat(frames).to_csv(index=False))
        console.print(f"table: {files.csv}", soft_wrap=True)
    if files.json is not None:
        answers = [{"file": entry.name, **entry.answer.to_dict()} for entry in entries]
        write_json(files.json, {**asked.to_dict(), "answers": answers})
        console.print(f"report: {files.json}", soft_wrap=True)


def _explained(opened: Opened, wanted: Wanted, policies: Sequence[Policy]) -> ExplainedAnswer:
    """Return an explained answer."""
    settings: dict[str, Any] = {"max_new_tokens": wanted.max_new_tokens, "do_sample": wanted.sample}
    torch.manual_seed(wanted.seed)
    return explain(
        opened.model,
        opened.prompt,
        list(policies) or None,
        answer=wanted.answer,
        against=wanted.against,
        method=wanted.method,
        counterfactual=opened.counterfactual,
        **settings,
    )


def _policies(processor: Any, asked: Asked, wanted: Wanted) -> list[Policy]:
    """Return the policies that the options name."""
    if wanted.policies is None:
        return []
    measured = None if wanted.calibration is None else Calibration.load(wanted.calibration)
    named = of_modalities(steering_choice(wanted.policies, asked.model, processor, measured), wanted.modalities)
    return [one for one in named.values() if one is not None]


def _explained_folder(asked: Asked, wanted: Wanted, folder: Path, files: Files) -> list[Entry]:
    """Return an explained answer for every image of a folder.

    The page is written anew after each. With ``files.resume``, answers that an earlier run made are not made again.
    """
    alone = {"--image": asked.images, "--out": files.out, "--save": files.save}
    for option, given in alone.items():
        if given:
            raise ValueError(f"--folder and {option} are given; {option} is for a single answer. Give one of them.")
    paths = pictures_of(folder)
    check_counterfactual_files(replace(asked, images=paths[:1]))
    check_device(asked.device)
    found = find_checkpoint(asked.model)
    model, processor = load_model(found, asked.device, asked.dtype)
    policies = _policies(processor, asked, wanted)
    kept = None if files.resume is None else KeptAnswers(files.resume, _identity(model, asked, wanted, policies))
    entries: list[Entry] = []
    with Progress(*Progress.get_default_columns(), TimeRemainingColumn(), console=notices) as progress:
        for path in progress.track(paths, description="answers"):
            make = partial(_explained_picture, model, processor, replace(asked, images=[path]), wanted, policies)
            entries.append(Entry(path.name, make() if kept is None else kept.get(path, make)))
            if files.html is not None:
                _write_page(entries, files.html, asked)
    return entries


def _explained_picture(
    model: Any, processor: Any, asked: Asked, wanted: Wanted, policies: Sequence[Policy]
) -> ExplainedAnswer:
    """Return an explained answer about the picture that is asked about."""
    opened = ask(model, processor, asked, [read_image(asked.images[0], notice)])
    return _explained(opened, wanted, policies)


def _identity(model: Any, asked: Asked, wanted: Wanted, policies: Sequence[Policy]) -> dict[str, Any]:
    """Return what decides the answers besides the picture."""
    given = asked.to_dict()
    return {
        "weights": weights_hash(model),
        **{name: given[name] for name in ("prompt", "system", "audios", *COUNTERFACTUAL)},
        "split_audio": asked.split_audio,
        "dtype": str(model.dtype),
        "policies": [policy_to_dict(policy) for policy in policies],
        "answer": wanted.answer,
        "against": wanted.against,
        "method": str(wanted.method),
        "max_new_tokens": wanted.max_new_tokens,
        "sample": wanted.sample,
        "seed": wanted.seed,
    }


def pictures_of(folder: Path) -> list[Path]:
    """Return the images of a folder by name.

    Raises
    ------
    ValueError
        If there is none; names the endings that count.
    """
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in endings)
    if not found:
        raise ValueError(f"--folder {folder} holds no image; files ending in .png, .jpg and the like are read.")
    return found


def _write_page(entries: Sequence[Entry], html: Path, asked: Asked) -> None:
    if len(entries) == 1:
        entries[0].answer.to_html(html, events=entries[0].events)
    else:
        write_text(html, report_page(entries, asked.prompt))


def show_folder(entries: Sequence[Entry]) -> None:
    """Print a table of the answers of a folder with their worst grounded words: those with the lowest come first."""
    table = Table(title="answers, the worst grounded first", title_justify="left")
    table.add_column("file", overflow="fold")
    table.add_column("grounding", justify="right")
    table.add_column("worst word", overflow="fold")
    table.add_column("answer", no_wrap=True, overflow="ellipsis")
    for entry in worst_first(entries)[:SHOWN]:
        worst = worst_word(entry.answer)
        value, text = ("not known", "") if worst is None else (signed(worst[0]), worst[1])
        style = MARKED if worst is not None and worst[0] < THRESHOLD else ""
        table.add_row(Text(entry.name), value, Text(text, style), Text(one_line(entry.answer.text)))
    console.print(table)
    if len(entries) > SHOWN:
        console.print(f"{len(entries) - SHOWN} of {len(entries)} answers are not listed; give --html or --csv for all.")


def show(found: ExplainedAnswer) -> None:
    """Print an answer with a table of its words."""
    if found.before is not None:
        console.print(labelled("without a policy", "bold", marked(found.before)), soft_wrap=True)
    console.print(labelled("answer", "bold", marked(found)), soft_wrap=True)
    if found.no_grounding is not None:
        console.print(f"grounding is not known: {found.no_grounding}", soft_wrap=True)
    parts = list(found.words[0].shares)
    table = Table(title="words, and the share of their relevance on each part of the input", title_justify="left")
    for name in ("word", "grounding", "probability", "instead", *parts):
        table.add_column(name, justify="left" if name in ("word", "instead") else "right")
    for word in found.words:
        table.add_row(*_cells(word, parts, found.against))
    console.print(table)
    if found.against is not None:
        (one,) = found.words
        console.print(
            f"margin {signed(one.logit)}: the logit of “{one.text}” minus that of “{found.against}”. Relevance and "
            "shares are of this margin.",
            soft_wrap=True,
        )
    console.print(
        f"grounding: nats that the log-probability loses without images and sounds; words below {THRESHOLD} are "
        "marked. instead: the most probable other token.",
        soft_wrap=True,
    )


def _cells(word: ExplainedWord, parts: Sequence[str], against: str | None = None) -> list[Text]:
    style = MARKED if is_marked(word) else ""
    grounding = "not known" if word.grounding is None else signed(word.grounding)
    other = f"{word.alternative} {word.alternative_probability:.2f}"
    shares = [f"{word.shares[name]:.0%}" for name in parts]
    texts = [target_name(word.text, against), grounding, f"{word.probability:.2f}", other, *shares]
    return [Text(texts[0], style), *map(Text, texts[1:])]


def is_marked(word: ExplainedWord) -> bool:
    """Whether a word has a grounding below ``THRESHOLD``."""
    return word.grounding is not None and word.grounding < THRESHOLD and not word.special


def marked(found: ExplainedAnswer) -> Text:
    """Return an answer as text for a terminal, with its badly grounded words marked."""
    text = Text()
    for word in found.words:
        if not word.special:
            text.append(word.lead if text else "")
            text.append(word.text, MARKED if is_marked(word) else None)
    return text
