"""``lime-xai audit``."""

from __future__ import annotations

import typer

from .common import Model, console


def audit(model: Model) -> None:
    """List the modules of a model's decoder with their rules, and what has none."""
    from lime_xai.attribution.attribute import audit as audit_model

    from .loading import load_model

    network, _ = load_model(model)
    report = audit_model(network)
    console.print(report.summary(), highlight=False)
    raise typer.Exit(0 if report.complete else 1)
