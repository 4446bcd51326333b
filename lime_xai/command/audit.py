"""``lime-xai audit``."""

from __future__ import annotations

import typer

from .common import Dtype, Model, Precision
from .screen import console


def audit(model: Model, dtype: Precision = Dtype.auto) -> None:
    """List the modules of a model's decoder with their rules, and what has none; status 1 if something has none."""
    from lime_xai.attribution.attribute import audit as audit_model

    from .loading import find_checkpoint, load_model

    network, _ = load_model(find_checkpoint(model), dtype=dtype.value)
    report = audit_model(network)
    console.print(report.summary(), soft_wrap=True)
    raise typer.Exit(0 if report.complete else 1)
