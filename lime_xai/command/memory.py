"""The memory of answers, printed before they are given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from rich.console import Console

from lime_xai.evaluation.against import Against
from lime_xai.evaluation.benchmarks.asking import Asking, check_asked
from lime_xai.evaluation.benchmarks.system import System, SystemLike
from lime_xai.evaluation.cost.memory import MemoryEstimate, estimate_memory
from lime_xai.evaluation.titled import titled_table
from lime_xai.policies.registry import PolicyLike


def show_memory_of(to: Console, model: Any, processor: Any, asking: Asking, policies: Mapping[str, SystemLike]) -> None:
    """Print the estimate for the first item of a benchmark.

    Parameters
    ----------
    to : Console
        Where it is printed.
    model, processor : object
        As loaded.
    asking : Asking
        What is asked.
    policies : mapping of str to Policy, Against or None
        By name.

    Raises
    ------
    ValueError, OSError
        For items or policies that do not fit the model, as asking them would.
    """
    named = {name: System.of(given) for name, given in policies.items()}
    prompt = next(iter(check_asked(model, processor, asking, named, lambda text: None).values()))
    plain = [(name, one.policy if isinstance(one, Against) else one) for name, one in policies.items()]
    show_memory(to, model, prompt.inputs, plain, asking.decoding.max_new_tokens, "the first item")


def show_memory(
    to: Console,
    model: Any,
    inputs: Mapping[str, Any],
    policies: Iterable[tuple[str, PolicyLike | None]],
    tokens: int,
    what: str,
) -> None:
    """Print an estimate for each policy, or why there is none."""
    length = inputs["input_ids"].shape[1]
    parts = [field.name for field in fields(MemoryEstimate)]
    title = f"estimated peak memory, MB: {what}; {length} + {tokens} tokens"
    caption = "without workspace of kernels and encoders; docs/how-to/reproduce-the-paper.md says how it is made"
    table = titled_table(title, (), caption)
    for name in ("policy", *parts, "total"):
        table.add_column(name, justify="left" if name == "policy" else "right")
    reasons: dict[str, None] = {}
    for name, policy in policies:
        try:
            found = estimate_memory(model, inputs, policy, max_new_tokens=tokens)
        except ValueError as error:
            reasons[str(error)] = None
            table.add_row(name, *["-"] * (len(parts) + 1))
            continue
        table.add_row(name, *(f"{getattr(found, part) / 1e6:.1f}" for part in parts), f"{found.total / 1e6:.1f}")
    to.print(table)
    for reason in reasons:
        to.print(reason, soft_wrap=True)
