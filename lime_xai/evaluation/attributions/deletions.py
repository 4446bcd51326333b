"""Deletion curves: what becomes of one explained token while groups are removed in the order of their relevance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from transformers import PreTrainedModel

from lime_xai.attribution.methods.lookup import MethodLike, as_method
from lime_xai.attribution.replacement import DELETION, check_perturbation
from lime_xai.attribution.targets import Target, TargetLike
from lime_xai.model.arguments import check_processor
from lime_xai.model.checks import checked_replayer
from lime_xai.model.prompt import Prompt, PromptLike
from lime_xai.model.records import Content
from lime_xai.values.checking import Count, Seed, check_arguments

from .example import Example
from .faithfulness import delta_a
from .recorded import Settings, record_example
from .scored import Scored

if TYPE_CHECKING:
    from lime_xai.attribution.sheet import Columns, ShownFigure

ORDERS = {
    "most": "most relevant removed first",
    "least": "least relevant removed first",
    "inserted": "most relevant brought back first",
}
"""What ``DeletionCurves.values`` and ``probabilities`` hold, and in words."""

Curves = Mapping[str, Mapping[str, NDArray[np.float64]]]
"""By method, then by order."""


@dataclass(frozen=True, eq=False, repr=False)
class DeletionCurves(Content):
    """Curves of one token of one prompt, for one or several methods.

    Attributes
    ----------
    shares : numpy.ndarray
        ``[n + 1]`` float64, from 0 to 1: share of the ``n`` groups that is removed, or brought back.
    values : mapping
        By method and by order in ``ORDERS``, ``[n + 1]`` float64: the explained logit or margin.
    probabilities : mapping
        Likewise: the probability of the explained token among all tokens.
    areas : mapping of str to float
        By method: ``delta_a``, the area between ``least`` and ``most`` of ``values``.
    replacement : str
        What removed positions are replaced by.
    target : str
        What is explained.
    """

    shares: NDArray[np.float64]
    values: Curves
    probabilities: Curves
    areas: Mapping[str, float]
    replacement: str
    target: str

    @property
    def methods(self) -> tuple[str, ...]:
        """Names, in the order given."""
        return tuple(self.values)

    def frame(self) -> pd.DataFrame:
        """Return one line per method, order and share: value and probability."""
        lines = [
            {"method": method, "order": order, "share": float(share), "value": value, "probability": probability}
            for method in self.methods
            for order in ORDERS
            for share, value, probability in zip(
                self.shares,
                self.values[method][order].tolist(),
                self.probabilities[method][order].tolist(),
                strict=True,
            )
        ]
        return pd.DataFrame(lines)

    def plot(self, columns: Columns = 2) -> ShownFigure:
        """Return a figure one or two columns of a page wide; ``save(path)`` also writes its numbers as CSV.

        Raises
        ------
        ValueError
            For another width.
        """
        from .deletions_figure import deletions_figure  # matplotlib is slow to import

        return deletions_figure(self, columns)


def deletion_curves(
    model: PreTrainedModel,
    inputs: PromptLike,
    methods: str | Sequence[str] | Mapping[str, MethodLike] = "attnlrp",
    *,
    target: TargetLike = None,
    processor: Any = None,
    replacement: str = DELETION,
    seed: Seed = 0,
    rows_per_pass: Count = 32,
) -> DeletionCurves:
    """Remove the groups of a prompt in the order of their relevance, and note what becomes of the explained token.

    The areas of these curves are the metrics ``delta_a``, ``deletion`` and ``insertion`` of ``compare_attributions``,
    which measures them on many prompts.

    Parameters
    ----------
    model : PreTrainedModel
        In eval mode.
    inputs : mapping or Prompt
        What a processor returns for one prompt, or a prompt that was read before.
    methods : str, sequence of str, or mapping of str to str, TransformerComposite or AttributionMethod
        As in ``compare_attributions``.
    target : optional
        As in ``attribute``: one token, or one against another.
    processor : object, optional
        Labels tokens, so that tokens of a word join, and encodes a target.
    replacement : str
        As in ``compare_attributions``, a single one.
    seed : int
        Of what a method draws.
    rows_per_pass : int
        Perturbed rows that run at once.

    Returns
    -------
    DeletionCurves

    Raises
    ------
    ValueError, TypeError
        For unknown names, bad inputs, several prompts, and a target of several tokens.

    Examples
    --------
    >>> import lime_xai
    >>> from lime_xai.worlds import example
    >>> model, processor, inputs = example("is there a heart in the image ?")
    >>> target = tuple(processor.tokenizer.convert_tokens_to_ids(["yes", "no"]))
    >>> found = lime_xai.deletion_curves(model, inputs, "attnlrp", target=target, processor=processor)
    >>> round(found.areas["attnlrp"])
    12
    """
    named = _named(model, methods, processor, replacement)
    check_arguments(deletion_curves, seed=seed, rows_per_pass=rows_per_pass)
    if processor is None and isinstance(inputs, Prompt):
        processor = inputs.processor
    recorded = record_example(model, Example(inputs, target), Settings(processor, (replacement,), rows_per_pass, seed))
    tasks = recorded.tasks
    if len(tasks) != 1:
        raise ValueError(
            f"The inputs have {recorded.count} prompts and the target {len(tasks)} tokens in all; deletion curves are "
            "of one token of one prompt. compare_attributions measures their areas on many."
        )
    (row, place, (task,)) = tasks[0]
    scored = {name: Scored(task, recorded.explain(method)[row, place]) for name, method in named.items()}
    found = {
        name: {"most": one.without_most, "least": one.without_least, "inserted": one.with_most}
        for name, one in scored.items()
    }
    ids, against = task.problem.ids, task.problem.against
    both: list[Curves] = [
        {name: {order: pair[part].numpy() for order, pair in kinds.items()} for name, kinds in found.items()}
        for part in (0, 1)
    ]
    return DeletionCurves(
        shares=np.linspace(0, 1, len(task.groups) + 1),
        values=both[0],
        probabilities=both[1],
        areas={name: delta_a(one) for name, one in scored.items()},
        replacement=replacement,
        target=Target(ids[None], against if against is None else against[None]).texts(processor)[0],
    )


def _named(
    model: PreTrainedModel, methods: str | Sequence[str] | Mapping[str, MethodLike], processor: Any, replacement: str
) -> Mapping[str, MethodLike]:
    """Return the methods by name; refuse other arguments, before any compute."""
    check_arguments(deletion_curves, methods=methods, replacement=replacement)
    checked_replayer(model)
    check_processor(processor)
    check_perturbation(replacement)
    listed = [methods] if isinstance(methods, str) else methods
    named: Mapping[str, MethodLike] = dict(listed) if isinstance(listed, Mapping) else {name: name for name in listed}
    if not named:
        raise ValueError("methods is empty; name at least one.")
    for method in named.values():
        as_method(method)
    return named
