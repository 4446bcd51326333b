"""What steering did, token by token."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

from rich.table import Table
from rich.text import Text
from torch import Tensor

from lime_xai.model.records import Content
from lime_xai.printing import foreign
from lime_xai.values.checking import check_row


@dataclass(frozen=True, eq=False, repr=False)
class StepTrace(Content):
    """One generated position, all rows; tensors are detached and stay on their device.

    Attributes
    ----------
    index : int
        0 for the first generated token.
    token_before, token_after : Tensor
        ``[B]``: argmax of the logits without and with the policy (before generate's own processors).
    losses, divergences : Tensor or None
        ``[steps + 1, B]``: objective and KL (nats) before each update and after the last. Edits in forward direction do
        not evaluate the objective again after the last: ``[steps, B]`` losses.
    share_before, share_after : Tensor or None
        ``[B]``: perceptual share of the absolute relevance.
    shares : Tensor or None
        ``[steps + 1, B]``: that share before each update and after the last. None for edits in forward direction, which
        compute no relevance of single positions.
    relevance_before, relevance_after : Tensor or None
        ``[B, T]``: relevance of every position for the target of the objective, without the policy and with it.
    """

    index: int
    token_before: Tensor
    token_after: Tensor
    losses: Tensor | None = None
    divergences: Tensor | None = None
    share_before: Tensor | None = None
    share_after: Tensor | None = None
    shares: Tensor | None = None
    relevance_before: Tensor | None = None
    relevance_after: Tensor | None = None

    @property
    def numbers(self) -> tuple[Tensor | None, ...]:
        """Losses, divergences and shares."""
        return self.losses, self.divergences, self.share_before, self.share_after

    def over(self, earlier: StepTrace | None) -> StepTrace:
        """Return this entry, with fields that are None taken from an earlier policy's."""
        if earlier is None:
            return self
        names = [one.name for one in fields(self) if one.default is None]
        return replace(self, **{name: getattr(earlier, name) for name in names if getattr(self, name) is None})


@dataclass(eq=False, repr=False)
class SteeringTrace(Content):
    """The trace of everything generated inside one ``steering`` context.

    Attributes
    ----------
    steps : list of StepTrace
        In order; a second ``generate`` in the same context starts again at index 0.
    """

    steps: list[StepTrace] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.steps)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, ready for JSON (waits for the device once); without relevance of single positions."""
        left_out = ("index", "relevance_before", "relevance_after")
        names = [name for name in StepTrace.__dataclass_fields__ if name not in left_out]
        rows = []
        for step in self.steps:
            row: dict[str, Any] = {"index": step.index}
            for name in names:
                value = getattr(step, name)
                row[name] = None if value is None else value.tolist()
            rows.append(row)
        return {"steps": rows}

    def changed(self) -> int:
        """Return how many tokens, over all rows, the policy changed."""
        return sum(int((step.token_before != step.token_after).sum()) for step in self.steps)

    def table(self, row: int = 0, tokenizer: Any = None) -> Table:
        """Return a rich table of one row: tokens, loss, KL and shares before and after.

        Raises
        ------
        TypeError, ValueError
            If some step has no such row.
        """
        for step in self.steps:
            check_row(row, len(step.token_before))
        table = Table(title="steering, token by token")
        for column in ("#", "before", "after", "loss", "KL", "share before", "share after"):
            table.add_column(column, justify="right")
        for step in self.steps:
            before, after = int(step.token_before[row]), int(step.token_after[row])
            words = [foreign(tokenizer.decode([t]) if tokenizer else t) for t in (before, after)]
            cells: list[str | Text] = [str(step.index), *words]
            if step.losses is not None and step.divergences is not None:
                losses = [f"{value:.3f}" for value in step.losses[:, row].tolist()]
                cells.append(" -> ".join([losses[0], *losses[1:][-1:]]))
                cells.append(f"{step.divergences[-1, row]:.4f}")
            else:
                cells += ["", ""]
            for share in (step.share_before, step.share_after):
                cells.append("" if share is None else f"{float(share[row]):.3f}")
            table.add_row(*cells, style=None if before == after else "bold")
        return table
