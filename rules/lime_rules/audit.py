"""Which rule each module of a decoder gets, and which modules none covers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from torch import Tensor, nn
from zennit.core import Hook

from .composites import AttnLRP, TransformerComposite
from .operations import Operation, unseen_operations
from .structure import ROLE_KINDS, Role, roles


@dataclass(frozen=True)
class AuditRow:
    """One module: its name in the decoder, its class, its role and the rule it gets."""

    name: str
    module: str
    role: Role
    rule: str

    @property
    def covered(self) -> bool:
        """Whether a rule, or the plain gradient of a linear map, is right for this module."""
        return self.role.kind != "uncovered"


@dataclass(frozen=True)
class Audit:
    """The report of ``audit``.

    Attributes
    ----------
    rows : tuple of AuditRow
        Every module of the decoder except plain containers.
    operations : tuple of Operation
        Products and nonlinear functions outside modules, which no rule covers; empty too if they were not looked for.
    """

    rows: tuple[AuditRow, ...]
    operations: tuple[Operation, ...] = ()

    @property
    def uncovered(self) -> tuple[AuditRow, ...]:
        """The modules without a rule."""
        return tuple(row for row in self.rows if not row.covered)

    def summary(self) -> str:
        """Return one line per kind of module, its rule and how often it occurs, under headings; then the verdict."""
        counts = Counter((row.module, row.role.kind, row.rule or "-", row.role.detail) for row in self.rows)
        lines = [
            f"{count:4d} x {module:28s} {kind:12s} {rule:18s} {detail}"
            for (module, kind, rule, detail), count in sorted(counts.items(), key=lambda item: item[0][1:])
        ]
        lines.insert(0, f"{'count':4s}  {'module':28s} {'role':12s} {'rule':18s} detail".rstrip())
        lines += [f"       {found.name} in the code of {found.module or 'the decoder'}" for found in self.operations]
        return "\n".join([*lines, self.verdict])

    @property
    def complete(self) -> bool:
        """Whether rules cover everything."""
        return not self.uncovered and not self.operations

    @property
    def verdict(self) -> str:
        """What is not covered, in a few words."""
        if self.complete:
            return "every module is covered"
        found = (
            f"{len(self.uncovered)} modules without a rule",
            f"{len(self.operations)} operations that no rule covers",
        )
        return ", ".join(text for text, some in zip(found, (self.uncovered, self.operations), strict=True) if some)


def audit_decoder(
    decoder: nn.Module, composite: TransformerComposite | None = None, embeddings: Tensor | None = None
) -> Audit:
    """List each module of a decoder with the rule it gets, and operations that no rule covers.

    Parameters
    ----------
    decoder : nn.Module
        The text decoder of a model.
    composite : TransformerComposite, optional
        By default ``AttnLRP()``.
    embeddings : Tensor, optional
        ``[1, n, d]``: inputs that the decoder is called with once, to look for operations outside its modules.

    Returns
    -------
    Audit
    """
    composite = composite or AttnLRP()
    found, rules = roles(decoder), composite.rules(decoder)
    rows = []
    for name, module in decoder.named_modules():
        role = found[name]
        if role.kind == "container":
            continue
        rows.append(AuditRow(name, type(module).__name__, role, rule_name(role, rules[name], composite)))
    return Audit(tuple(rows), () if embeddings is None else unseen_operations(decoder, embeddings))


def rule_name(role: Role, hook: Hook | None, composite: TransformerComposite) -> str:
    """Return what passes relevance through a module: its hook's class, or the rule of an interface."""
    if role.kind == "router" and composite.expert_ratios.routing:
        return "plain gradient"
    rule = ROLE_KINDS[role.kind].rule
    if rule in ("hook", "gradient", "missing"):  # a layer_map may give a hook to any module
        return "" if hook is None else type(hook).__name__
    return rule
