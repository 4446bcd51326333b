"""Comparing attribution methods: every metric for every method on every example."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from transformers import PreTrainedModel

from lime_xai.attribution.methods.lookup import MethodLike, as_method
from lime_xai.attribution.replacement import DELETION, PERTURBATIONS, check_perturbation
from lime_xai.attribution.targets import TargetLike
from lime_xai.errors import unknown_name
from lime_xai.model.arguments import check_processor
from lime_xai.model.checks import checked_replayer
from lime_xai.model.prompt import Prompt, PromptLike
from lime_xai.storage.store import check_identity, check_writable, write_json
from lime_xai.storage.weights import weights_hash
from lime_xai.values.checking import Count, Seed, check_arguments, shown

from .comparison import FORMAT, Comparison
from .example import Example
from .identity import described, digest
from .measure import measure
from .recorded import Settings, record_example
from .registry import METRICS, columns, metric_of


def compare_attributions(
    model: PreTrainedModel,
    inputs_or_dataset: PromptLike | Iterable[Example],
    methods: str | Sequence[str] | Mapping[str, MethodLike],
    metrics: str | Sequence[str] | None = None,
    *,
    target: TargetLike = None,
    truth: Tensor | None = None,
    processor: Any = None,
    replacement: str | Sequence[str] = (DELETION, "mean"),
    seed: Seed = 0,
    rows_per_pass: Count = 32,
    out: str | Path | None = None,
    progress: bool | Console = True,
) -> Comparison:
    """Measure attribution methods by the metrics of the protocol, on the same examples.

    Parameters
    ----------
    model : PreTrainedModel
        In eval mode.
    inputs_or_dataset : mapping, Prompt, or iterable of Example
        What a processor returns, a prompt that was read before, or many such with their own target, true region and
        cluster.
    methods : str, sequence of str, or mapping of str to str, TransformerComposite or AttributionMethod
        Names in ``METHODS``, or names of your own for such, for composites or for methods with settings. The first is
        the one that the others are compared with.
    metrics : str or sequence of str, optional
        Names in ``METRICS``; by default all, without those that need a true region where a single batch has none.
    target, truth : optional
        As in ``Example``; for examples that have none of their own.
    processor : object, optional
        Labels tokens, so that tokens of a word join, and encodes a phrase.
    replacement : str or sequence of str
        ``deletion``, ``mean``, ``blur``, ``zero``, or ``silence`` for prompts with sounds, which needs ``processor``
        (``lime_xai.attribution.replacement``). Of several, the first gives the plain columns; metrics that
        perturb are measured with the others too, in columns such as ``delta_a@mean``, and
        ``Comparison.replacement_agreement`` says how far they order the methods alike.
    seed : int
        Of noise, weights, permutations, and of what a method draws.
    rows_per_pass : int
        Perturbed rows that run at once.
    out : str or Path, optional
        JSON file, written after every example; an interrupted comparison resumes from it.
    progress : bool or rich.console.Console
        Whether, or where, to show a progress bar.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError, TypeError
        For unknown names, bad inputs, a missing true region, or a file of other settings or examples.

    Examples
    --------
    >>> import lime_xai
    >>> from lime_xai.worlds import example
    >>> model, processor, inputs = example("is there a heart in the image ?")
    >>> target = tuple(processor.tokenizer.convert_tokens_to_ids(["yes", "no"]))
    >>> methods, metrics = ["attnlrp", "gradient_input"], ["perceptual_share"]
    >>> found = lime_xai.compare_attributions(model, inputs, methods, metrics, target=target, progress=False)
    >>> {method: round(float(measured["perceptual_share"].mean), 1) for method, measured in found.summary.items()}
    {'attnlrp': 0.4, 'gradient_input': 0.2}
    """
    check_arguments(compare_attributions, methods=methods, metrics=metrics, truth=truth, replacement=replacement)
    check_arguments(compare_attributions, seed=seed, rows_per_pass=rows_per_pass, out=out, progress=progress)
    _check_objects(model, inputs_or_dataset, processor)
    listed = [methods] if isinstance(methods, str) else methods
    named = dict(listed) if isinstance(listed, Mapping) else {name: name for name in listed}
    metrics = [metrics] if isinstance(metrics, str) else metrics
    kinds = (replacement,) if isinstance(replacement, str) else tuple(replacement)
    _check(named, kinds)
    single = isinstance(inputs_or_dataset, Mapping | Prompt)
    if processor is None and isinstance(inputs_or_dataset, Prompt):
        processor = inputs_or_dataset.processor
    dataset = [Example(inputs_or_dataset)] if isinstance(inputs_or_dataset, Mapping | Prompt) else inputs_or_dataset
    chosen = _metrics(metrics, regions=not single or truth is not None)
    names = columns(chosen, kinds)
    header: dict[str, Any] = {
        "weights": None if out is None else weights_hash(model),
        "methods": list(named),
        "metrics": names,
        "replacements": list(kinds),
        "seed": seed,
        "labels": processor is not None,
        "settings": {name: described(method) for name, method in named.items()},
        "version": version("lime_xai"),
    }
    path = None if out is None else check_writable(out)
    records = [] if path is None else _resumed(path, header)
    settings = Settings(processor, kinds, rows_per_pass, seed)
    used, warm = 0, False
    with _bar(progress) as bar:
        task = bar.add_task("attributions", total=len(dataset) * len(named) if isinstance(dataset, Sized) else None)
        for index, given in enumerate(dataset):
            example = _completed(given, target, truth, metrics, index)
            _check_processor(example, processor, index)
            code, used = digest(example), index + 1
            if index < len(records):
                _check_same(records[index], code, index, path)
                bar.advance(task, len(named))
                continue
            recorded = record_example(model, example, settings)
            if not warm:  # what is done once per process or model must not be timed
                for method in named.values():
                    recorded.explain(method)
                warm = True
            values = measure(recorded, named, names, lambda: bar.advance(task))
            records.append(_record(code, example, index, values))
            if path is not None:
                write_json(path, {"format": FORMAT, "header": header, "examples": records})
    if not used:
        raise ValueError("The dataset has no examples; give at least one.")
    comparison = Comparison(header, records[:used])
    if path is not None and len(records) == used:
        comparison.to_json(path)
    return comparison


def _resumed(path: Path, header: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the examples that a file already holds; none if there is no file."""
    if not path.exists():
        return []
    found = Comparison.from_json(path)
    check_identity(path, "a comparison", found.header, header)
    return [dict(example) for example in found.examples]


def _check_objects(model: PreTrainedModel, given: object, processor: Any) -> None:
    """Refuse a model, inputs or a processor of another kind."""
    checked_replayer(model)
    check_processor(processor)
    if not isinstance(given, Iterable | Prompt) or isinstance(given, str):
        raise TypeError(f"inputs_or_dataset is {shown(given)}; expected what a processor returns, or examples.")


def _check(methods: Mapping[str, MethodLike], kinds: Sequence[str]) -> None:
    if not methods:
        raise ValueError("methods is empty; name at least one.")
    if not kinds:
        raise ValueError(f"replacement is empty; expected some of {', '.join(PERTURBATIONS)}.")
    for kind in kinds:
        check_perturbation(kind)
    for method in methods.values():
        as_method(method)


def _metrics(metrics: Sequence[str] | None, regions: bool) -> list[str]:
    """Return the names of the metrics; refuse unknown ones, and those that need a region where there is none."""
    if metrics is None:
        return [name for name, metric in METRICS.items() if regions or "truth" not in metric.needs]
    if not metrics:
        raise ValueError("metrics is empty; name at least one, or leave it out for all.")
    for name in metrics:
        if name not in METRICS:
            raise unknown_name("metric", name, METRICS)
    return list(dict.fromkeys(metrics))


def _completed(
    given: Example, target: TargetLike, truth: Tensor | None, metrics: Sequence[str] | None, index: int
) -> Example:
    """Return an example with the common target and region where it has none; refuse it if a metric needs a region."""
    if not isinstance(given, Example):
        raise TypeError(f"Example {index} of the dataset is {type(given).__name__}; expected lime_xai.Example.")
    example = replace(
        given,
        target=target if given.target is None else given.target,
        truth=truth if given.truth is None else given.truth,
    )
    missing = [name for name in metrics or () if "truth" in metric_of(name).needs]
    if missing and example.truth is None:
        raise ValueError(
            f"{', '.join(missing)} need a true region and example {index} has none; pass truth=, or drop them."
        )
    return example


def _check_processor(example: Example, processor: Any, index: int) -> None:
    """Refuse a prompt with a processor of its own: labels join words, in all examples or in none."""
    if processor is None and isinstance(example.inputs, Prompt) and example.inputs.processor is not None:
        raise ValueError(f"The prompt of example {index} was read with a processor; pass processor= for all examples.")


def _check_same(record: Mapping[str, Any], code: str, index: int, path: Path | None) -> None:
    if record["digest"] != code:
        raise ValueError(f"Example {index} in {path} is another one than was given; give another file name.")


def _record(code: str, example: Example, index: int, values: Sequence[Any]) -> dict[str, Any]:
    named = example.cluster is not None
    rows = [
        {"cluster": _plain(example.cluster) if named else f"{index}.{row}", "values": found}
        for row, found in enumerate(values)
    ]
    return {"digest": code, "rows": rows}


def _plain(cluster: Any) -> str | int:
    """Return the name of a cluster as a JSON value; NumPy's numbers are none."""
    return cluster if isinstance(cluster, str) else int(cluster)


def _bar(progress: bool | Console) -> Progress:
    console = progress if isinstance(progress, Console) else Console(stderr=True)
    parts = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*parts, console=console, disable=progress is False)
